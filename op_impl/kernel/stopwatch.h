// Measures the phases of a kernel, as its first block sees them. Does nothing unless the window keeps statistics.
#ifndef MOE_COMM_KERNEL_STOPWATCH_H
#define MOE_COMM_KERNEL_STOPWATCH_H

#include "kernel/window.h"

namespace moe_comm {

class Stopwatch {
 public:
  __aicore__ inline void Init(const Window *window) {
    window_ = window;
    runs_ = window->keeps_stats && IsFirstBlock();
    if (runs_) last_ = AscendC::GetSystemCycle();
  }

  // Adds the time since the last call to `field` of the header.
  __aicore__ inline void Lap(WindowField field) {
    if (!runs_) return;
    const int64_t now = AscendC::GetSystemCycle();
    window_->AddTo(FieldOffset(field), static_cast<uint64_t>(now - last_));
    last_ = now;
  }

  __aicore__ inline void Add(WindowField field, uint64_t value) const {
    if (runs_) window_->AddTo(FieldOffset(field), value);
  }
  // The rows that go to, or come from, other ranks: the sum of this rank's destinations without itself.
  __aicore__ inline uint64_t RowsAway(const AscendC::LocalTensor<int32_t> &buffer, uint32_t words) const {
    uint64_t rows = 0;
    for (uint32_t first = 0; runs_ && first < window_->world_size; first += words) {
      const uint32_t ranks = Min(words, window_->world_size - first);
      Load(buffer, window_->Own(window_->layout.destinations, first), ranks);
      for (uint32_t i = 0; i < ranks; ++i) rows += first + i == window_->rank ? 0 : buffer.GetValue(i);
    }
    return rows;
  }

 private:
  const Window *window_;
  bool runs_;
  int64_t last_ = 0;
};

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_STOPWATCH_H
