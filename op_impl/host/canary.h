// Whether kernels run at all, before the first one of a window does.
#ifndef MOE_COMM_HOST_CANARY_H
#define MOE_COMM_HOST_CANARY_H

#include <cstdint>

namespace moe_comm {

// Runs the canary kernel on all vector cores of the NPU, or on `cpu_cores` cores of the host twin if that is not 0. The
// kernel writes to 4 KiB at `memory`, which are zero afterwards. Throws std::runtime_error, which says what did not
// come back and what to check.
void TryKernels(uint64_t memory, uint64_t cpu_cores);

}  // namespace moe_comm

#endif  // MOE_COMM_HOST_CANARY_H
