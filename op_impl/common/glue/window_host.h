// The host's side of an expert window on CPU: writes its header, checks arguments against it, tells its errors.
#ifndef MOE_COMM_GLUE_WINDOW_HOST_H
#define MOE_COMM_GLUE_WINDOW_HOST_H

#include <string>
#include <vector>

#include "common/glue/op.h"
#include "common/window_layout.h"

namespace moe_comm {

struct WindowParameters {
  WindowShape shape;
  uint64_t rank;
  uint64_t max_tokens;
  uint64_t top_k;
  uint64_t dtype;  // Dtype
  uint64_t timeout_us;
};

void InitWindow(uint8_t *base, const WindowParameters &parameters, const std::vector<uint64_t> &peer_bases);

// Throws std::invalid_argument unless `control` is the control tensor of a live window.
WindowParameters ReadWindow(const uint8_t *control, uint64_t control_bytes, const char *op);

// The recorded error of a window as a sentence, empty if there is none. A shared verdict (capacity) is told once.
std::string TakeError(uint8_t *base, const char *op);

}  // namespace moe_comm

#endif  // MOE_COMM_GLUE_WINDOW_HOST_H
