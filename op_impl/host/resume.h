// Going on with a window after a rank has died: the others agree on where, and clear what the failure has left.
#ifndef MOE_COMM_HOST_RESUME_H
#define MOE_COMM_HOST_RESUME_H

#include <cstdint>
#include <vector>

namespace moe_comm {

// Called by every rank with `live` [R] true, and by no other; no operator may run on the window, and the ranks that are
// left out must have ended. Afterwards the window works as if those had left it. Throws std::runtime_error, naming the
// ranks, if one does not come in time or was given another `live`; then the window stays dead, and the call may be
// repeated.
void ResumeWindow(uint8_t *base, const std::vector<bool> &live);

}  // namespace moe_comm

#endif  // MOE_COMM_HOST_RESUME_H
