// The host's side of an expert window on CPU: writes its header, checks arguments against it, tells its errors.
#ifndef MOE_COMM_GLUE_WINDOW_HOST_H
#define MOE_COMM_GLUE_WINDOW_HOST_H

#include <chrono>
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

// Adds a call and its time to the window's header: `calls` is kDispatchCalls or kCombineCalls, the time is next to it.
class LaunchTimer {
 public:
  LaunchTimer(uint8_t *base, WindowField calls) : calls_(reinterpret_cast<uint64_t *>(base) + calls) {}
  ~LaunchTimer() {
    const auto spent = std::chrono::steady_clock::now() - start_;
    calls_[0] += 1;
    calls_[1] += std::chrono::duration_cast<std::chrono::nanoseconds>(spent).count();
  }
  LaunchTimer(const LaunchTimer &) = delete;
  LaunchTimer &operator=(const LaunchTimer &) = delete;

 private:
  uint64_t *calls_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace moe_comm

#endif  // MOE_COMM_GLUE_WINDOW_HOST_H
