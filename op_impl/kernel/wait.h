// Bounded waits for words that peers write into this rank's window.
#ifndef MOE_COMM_KERNEL_WAIT_H
#define MOE_COMM_KERNEL_WAIT_H

#include "kernel/failure.h"

namespace moe_comm {

// One wait. Call Expired() after each look that found a rank missing, until it returns true.
class Wait {
 public:
  __aicore__ inline Wait(const Window &window, Failure &failure, Phase phase, uint64_t epoch)
      : window_(window), failure_(failure), phase_(phase), epoch_(epoch) {
    end_ = AscendC::GetSystemCycle() + window.timeout_us * kCyclesPerMicrosecond;
  }

  // True if a peer has given up or the deadline has passed. After the deadline the caller names the missing ranks.
  __aicore__ inline bool Expired(uint32_t missing) {
    if (++looks_ % kLooksPerPeerCheck == 0) failure_.CheckPeers(phase_, epoch_, missing);
    const int64_t now = AscendC::GetSystemCycle();
    if (window_.keeps_stats) Waited(missing, now);
    return failure_.Failed() || now > end_;
  }

  __aicore__ inline void End() { AddWaited(); }

 private:
  // A look charges only the first rank that it misses. The charge is the time from the first to the last such look.
  __aicore__ inline void Waited(uint32_t missing, int64_t now) {
    if (missing != missing_) {
      AddWaited();
      missing_ = missing;
      since_ = now;
    }
    last_ = now;
  }
  __aicore__ inline void AddWaited() {
    if (missing_ == kNobody) return;
    const uint64_t table = window_.layout.waited(static_cast<uint64_t>(Block()) * kWaitPhases + phase_ - kWaitCounts);
    window_.AddTo(table + missing_ * sizeof(uint64_t), static_cast<uint64_t>(last_ - since_));
    missing_ = kNobody;
  }

  static constexpr uint32_t kNobody = kMaxRanks;
  static constexpr int64_t kCyclesPerMicrosecond = 50;  // GetSystemCycle counts at 50 MHz
  static constexpr uint32_t kLooksPerPeerCheck = 16;

  const Window &window_;
  Failure &failure_;
  Phase phase_;
  uint64_t epoch_;
  int64_t end_;
  uint32_t looks_ = 0;
  uint32_t missing_ = kNobody;
  int64_t since_ = 0;
  int64_t last_ = 0;
};

// The ranks that a wait missed. All are counted, and the first few are named.
class MissingRanks {
 public:
  __aicore__ inline void Add(uint32_t rank) {
    if (error_.missing < TimedOut::kNamed) error_.ranks[error_.missing] = rank;
    ++error_.missing;
  }
  __aicore__ inline void Record(Failure &failure, Phase phase, uint64_t epoch) const {
    failure.Record(phase, epoch, error_);
  }
  __aicore__ inline bool None() const { return error_.missing == 0; }

 private:
  TimedOut error_ = {0, {-1, -1, -1, -1}};
};

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_WAIT_H
