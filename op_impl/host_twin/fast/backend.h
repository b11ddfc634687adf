// The fast back end of the host twin: every instruction executes at once, on the thread of its block.
//
// Memory order. Flags and counts are 64-bit words and move as relaxed atomics; an event or a pipe barrier before the
// flag's move releases, the event after a poll acquires: the fences of the C++ memory model, whatever the processor.
#ifndef MOE_COMM_HOST_TWIN_FAST_BACKEND_H
#define MOE_COMM_HOST_TWIN_FAST_BACKEND_H

#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>

namespace AscendC::backend {

constexpr uint32_t kUnifiedBufferBytes = 192 * 1024;  // of an AI core of Ascend 910B and 910_93
constexpr uint32_t kHostAlign = 64;                   // a 32-byte aligned buffer costs 15 to 30 % on a CPU
constexpr int64_t kNanosecondsPerCycle = 20;          // GetSystemCycle counts at 50 MHz

// A barrier of the blocks of one launch.
class BlockBarrier {
 public:
  void Wait(int64_t blocks) {
    const uint64_t round = round_.load(std::memory_order_acquire);
    if (waiting_.fetch_add(1, std::memory_order_acq_rel) + 1 == blocks) {
      waiting_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      return;
    }
    while (round_.load(std::memory_order_acquire) == round) sched_yield();
  }

 private:
  std::atomic<int64_t> waiting_{0};
  std::atomic<uint64_t> round_{0};
};

struct Block {
  int64_t block = 0;
  int64_t blocks = 1;
  BlockBarrier *barrier = nullptr;
  uint32_t used = 0;          // bytes of the unified buffer
  uint32_t clock_reads = 0;   // in this launch
  alignas(kHostAlign) uint8_t unified_buffer[kUnifiedBufferBytes];
};

inline Block &Self() {
  static thread_local Block block;
  return block;
}

inline void Require(bool holds, const char *rule) {
  if (!holds) throw std::logic_error(std::string("AscendC rule broken: ") + rule);
}

inline void ResetUnifiedBuffer() { Self().used = 0; }

inline uint8_t *TakeUnifiedBuffer(uint32_t bytes) {
  Block &self = Self();
  uint8_t *buffer = self.unified_buffer + self.used;
  self.used += (bytes + kHostAlign - 1) / kHostAlign * kHostAlign;
  Require(self.used <= kUnifiedBufferBytes, "buffers exceed the unified buffer");
  return buffer;
}

inline void Release() { std::atomic_thread_fence(std::memory_order_release); }
inline void Acquire() { std::atomic_thread_fence(std::memory_order_acquire); }

inline void Barrier() {
  if (Self().blocks > 1) Self().barrier->Wait(Self().blocks);
}

// Only loops that wait for a peer read the clock: yield there, so that ranks which share cores get to run,
// and sleep once the wait is plainly not a matter of microseconds.
inline int64_t ReadClock() {
  constexpr uint32_t kYields = 2000;
  constexpr useconds_t kSleepMicroseconds = 30;
  if (++Self().clock_reads < kYields) {
    sched_yield();
  } else {
    usleep(kSleepMicroseconds);
  }
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count() / kNanosecondsPerCycle;
}

template <typename T>
void Move(uint8_t *target, uint64_t target_pitch, const uint8_t *source, uint64_t source_pitch, uint32_t blocks,
          uint32_t bytes) {
  for (uint32_t i = 0; i < blocks; ++i, target += target_pitch, source += source_pitch) {
    if constexpr (sizeof(T) == sizeof(uint64_t)) {
      for (uint32_t at = 0; at < bytes; at += sizeof(uint64_t)) {
        const uint64_t word = __atomic_load_n(reinterpret_cast<const uint64_t *>(source + at), __ATOMIC_RELAXED);
        __atomic_store_n(reinterpret_cast<uint64_t *>(target + at), word, __ATOMIC_RELAXED);
      }
    } else {
      std::memcpy(target, source, bytes);
    }
  }
}

}  // namespace AscendC::backend

#endif  // MOE_COMM_HOST_TWIN_FAST_BACKEND_H
