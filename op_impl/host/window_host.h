// The host's side of an expert window: writes its header, keeps its parameters for the launches, tells its errors.
#ifndef MOE_COMM_HOST_WINDOW_HOST_H
#define MOE_COMM_HOST_WINDOW_HOST_H

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "contract/window_layout.h"
#include "host/operator.h"

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

// An open window of this process.
struct OpenWindow {
  WindowParameters parameters;
  std::vector<uint64_t> header;        // as InitWindow wrote it, peers included
  std::atomic<bool> busy{false};       // an operator runs on it
  std::weak_ptr<const int> step_of{};  // the thread that has dispatched and not combined yet, if it lives
};

// nullptr if no open window of this process has its control at `base`.
std::shared_ptr<OpenWindow> FindWindow(const uint8_t *base);

// The address of the window whose control this is, or, `readable` by the host, of which it is a copy; nullptr if none.
uint8_t *WindowOf(uint8_t *control, uint64_t bytes, bool readable);

// For a window of the CPU: throws std::runtime_error if an error has ended its use, or its header was overwritten.
void CheckUsable(uint8_t *base, const OpenWindow &window, const char *op);

// Operators on the window are errors from now on.
void CloseWindow(const uint8_t *base);

// An error of this rank that was but a wait: from now on it is an interruption, here and on the peers. False if none.
bool MarkInterrupted(uint8_t *base, const WindowParameters &window);

// "'op' on rank 1 of 4"
std::string Where(const char *op, const WindowParameters &window);

// The recorded error of a window as a sentence, empty if there is none. A shared verdict (capacity) is told once.
// On an NPU it copies from the device: the launches must be over, and it is for no launch.
std::string TakeError(uint8_t *base, const char *op);

}  // namespace moe_comm

#endif  // MOE_COMM_HOST_WINDOW_HOST_H
