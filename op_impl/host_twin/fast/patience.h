// How the host ends the waits of running kernels before their deadlines: their clock jumps.
#ifndef MOE_COMM_HOST_TWIN_FAST_PATIENCE_H
#define MOE_COMM_HOST_TWIN_FAST_PATIENCE_H

#include <atomic>
#include <cstdint>

namespace AscendC::backend {

class Patience {
 public:
  static constexpr int64_t kJump = int64_t{1} << 61;  // in cycles, past every deadline

  static void Lose() { lost_.store(true, std::memory_order_relaxed); }  // may be called by a signal handler
  static void Regain() { lost_.store(false, std::memory_order_relaxed); }
  static bool Lost() { return lost_.load(std::memory_order_relaxed); }

  // Called once in each launch, when it begins to sleep in a wait.
  inline static std::atomic<void (*)()> on_long_wait{nullptr};

 private:
  inline static std::atomic<bool> lost_{false};
};

}  // namespace AscendC::backend

#endif  // MOE_COMM_HOST_TWIN_FAST_PATIENCE_H
