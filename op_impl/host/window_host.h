// The host's side of an expert window: writes its header, keeps its parameters for launches, reports its errors.
#ifndef MOE_COMM_HOST_WINDOW_HOST_H
#define MOE_COMM_HOST_WINDOW_HOST_H

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "contract/errors.h"
#include "contract/window_schema.h"
#include "host/operator.h"

namespace moe_comm {

// What the host gives a window at its creation: the words Given::kAtCreation of its header, by name.
using HeaderWords = std::map<std::string, uint64_t>;

// Throws std::invalid_argument if a word of the shape is missing.
WindowShape ShapeOf(const HeaderWords &words);

// What a window was created for.
struct WindowInfo {
  std::vector<uint64_t> header;  // as it was written
  WindowShape shape;
  WindowLayout layout;
  bool on_npu = false;  // its memory is a device's: no launch may look into it
  uint64_t blocks = 0;  // cores of a launch: block_dim, or all vector cores of an NPU with fewer

  uint64_t operator[](WindowField field) const { return header[field]; }
};

// Writes header and peers into zeroed memory (on an NPU it zeroes the control itself), and registers the window under
// its base, the address of its control. Throws std::invalid_argument unless `words` are exactly those of the schema.
void InitWindow(uint8_t *base, const HeaderWords &words, const std::vector<uint64_t> &peer_bases, bool on_npu);

// An open window of this process.
struct OpenWindow {
  WindowInfo info;
  std::vector<uint64_t> peers;         // as InitWindow wrote them
  std::atomic<bool> busy{false};       // an operator runs on it
  std::weak_ptr<const int> step_of{};  // the thread that has dispatched and not yet combined, if it lives
};

// nullptr if no open window of this process has its control at `base`.
std::shared_ptr<OpenWindow> FindWindow(const uint8_t *base);

// The address of the window whose control this is; nullptr if there is none. If the host can read it (`readable`), it
// may also be a copy of a control.
uint8_t *WindowOf(uint8_t *control, uint64_t bytes, bool readable);

// For a window of the CPU: throws std::runtime_error if an error has ended its use or its header was overwritten.
void CheckUsable(uint8_t *base, const OpenWindow &window, const char *op);

// Operators on the window are errors from now on.
void CloseWindow(const uint8_t *base);

// Turns this rank's time-out into an interruption, here and on the peers. False if the rank has no time-out.
bool MarkInterrupted(uint8_t *base, const WindowInfo &window);

// "'op' on rank 1 of 4"
std::string Where(const char *op, const WindowInfo &window);

// The recorded error of a window as a sentence, empty if there is none. A shared verdict (capacity) is told once.
// On an NPU it copies from the device, so the launches must have ended. Never called in a launch.
std::string TakeError(uint8_t *base, const char *op);

}  // namespace moe_comm

#endif  // MOE_COMM_HOST_WINDOW_HOST_H
