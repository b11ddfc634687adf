// The host's side of an expert window: writes its header, keeps its parameters for the launches, tells its errors.
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
  uint64_t shared_experts = 0;  // S on ranks of their own
  bool drops = false;           // overflow="drop"
  bool keeps_stats = false;
  bool on_npu = false;   // its memory is a device's: no launch may look into it
  uint64_t blocks = 0;   // cores of a launch, set by InitWindow: block_dim, or all vector cores of an NPU with fewer
};

// Writes header and peers into zeroed memory (on an NPU it zeroes the control itself), and registers the window under
// its base, the address of its control.
void InitWindow(uint8_t *base, const WindowParameters &parameters, const std::vector<uint64_t> &peer_bases);

// "2.5 s"
std::string Seconds(uint64_t microseconds);

// What InitWindow registered for the open window at `base`.
WindowParameters RegisteredWindow(const uint8_t *base);

// Operators on the window are errors from now on.
void CloseWindow(const uint8_t *base);

// From what InitWindow registered, never from the window's memory. Throws std::invalid_argument unless `control` is
// the control tensor of an open window of the device that the launch goes to: the CPU if `npu_stream` is nullptr. There
// it throws std::runtime_error after an error that has ended the window's use.
WindowParameters ReadWindow(const uint8_t *control, void *npu_stream, const char *op);

// The recorded error of a window as a sentence, empty if there is none. A shared verdict (capacity) is told once.
// On an NPU it copies from the device: the launches must be over, and it is for no launch.
std::string TakeError(uint8_t *base, const char *op);

// Adds a call and its time to the window's header: `calls` is kDispatchCalls or kCombineCalls, the time is next to it.
// Not on an NPU, where the call only queues the kernel: there the framework's profiler times kernels.
class LaunchTimer {
 public:
  LaunchTimer(void *npu_stream, uint8_t *base, WindowField calls)
      : calls_(npu_stream == nullptr ? reinterpret_cast<uint64_t *>(base) + calls : nullptr) {}
  ~LaunchTimer() {
    if (calls_ == nullptr) return;
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
