// The fast back end of the host twin: every instruction executes at once, on the thread of its block.
//
// Memory order. Flags and counts are 64-bit words and move as relaxed atomics. An event or a pipe barrier before a
// flag's move releases, the event after a poll acquires. These are fences of the C++ memory model, right on every
// processor.
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

#include "../types.h"
#include "patience.h"

namespace AscendC::backend {

// This back end does not use the place of a call.
struct Site {
  static constexpr Site Here() { return {}; }
};

// An address in the unified buffer.
struct Local {
  uint8_t *address = nullptr;
  Local At(uint32_t bytes) const { return {address + bytes}; }
};

constexpr uint32_t kHostAlign = 64;           // a 32-byte aligned buffer costs 15 to 30 % on a CPU
constexpr int64_t kNanosecondsPerCycle = 20;  // GetSystemCycle counts at 50 MHz

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
  void *pipe = nullptr;      // the kernel's TPipe
  uint32_t used = 0;         // bytes of the unified buffer
  uint32_t clock_reads = 0;  // in this launch
  alignas(kHostAlign) uint8_t unified_buffer[kUnifiedBufferBytes];
};

inline Block &Self() {
  static thread_local Block block;
  return block;
}

inline void Require(bool holds, const char *rule, Site) {
  if (!holds) throw std::logic_error(std::string("AscendC rule broken: ") + rule);
}

// --- buffers ---

inline void OpenPipe(void *pipe, Site) {
  Self().pipe = pipe;
  Self().used = 0;
}
inline void ClosePipe() {}
inline void *CurrentPipe() { return Self().pipe; }

inline Local TakeBuffer(uint32_t bytes, Site site) {
  Block &self = Self();
  uint8_t *buffer = self.unified_buffer + self.used;
  self.used += (bytes + kHostAlign - 1) / kHostAlign * kHostAlign;
  Require(self.used <= kUnifiedBufferBytes, "buffers exceed the unified buffer", site);
  return {buffer};
}

// Instructions that run one after the other need no events.
template <HardEvent filled, HardEvent free, int32_t depth>
class Queue {
 public:
  void Init(uint32_t count, uint32_t bytes, Site site) {
    count_ = count;
    bytes_ = bytes;
    first_ = TakeBuffer(count * bytes, site);
  }
  Local Alloc(Site) {
    const Local buffer = first_.At(next_ * bytes_);
    next_ = (next_ + 1) % count_;
    return buffer;
  }
  void EnQue(const Local &buffer, Site) { queued_[tail_++ % kSlots] = buffer; }
  Local DeQue(Site) { return queued_[head_++ % kSlots]; }
  void Free(const Local &, Site) {}

 private:
  static constexpr uint32_t kSlots = 8;
  Local first_;
  uint32_t bytes_ = 0;
  uint32_t count_ = 0;
  uint32_t next_ = 0;
  uint32_t head_ = 0;
  uint32_t tail_ = 0;
  Local queued_[kSlots];
};

// --- instructions ---

template <typename T>
T ReadLocal(const Local &place, uint32_t offset, Site) {
  return *reinterpret_cast<const T *>(place.address + offset);
}
template <typename T>
void WriteLocal(const Local &place, uint32_t offset, T value, Site) {
  *reinterpret_cast<T *>(place.address + offset) = value;
}
template <typename T>
T ReadGlobal(const T *address, Site) {
  return *address;
}
template <typename T>
void WriteGlobal(T *address, T value, Site) {
  *address = value;
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

inline uint32_t LocalPitch(uint32_t bytes, uint32_t gap) {
  return (bytes + kUbBlockBytes - 1) / kUbBlockBytes * kUbBlockBytes + gap * kUbBlockBytes;
}
template <typename T>
void MoveIn(const Local &target, const uint8_t *source, const DataCopyExtParams &p, Site) {
  Move<T>(target.address, LocalPitch(p.blockLen, p.dstStride), source, p.blockLen + p.srcStride, p.blockCount,
          p.blockLen);
}
template <typename T>
void MoveOut(uint8_t *target, const Local &source, const DataCopyExtParams &p, Site) {
  Move<T>(target, p.blockLen + p.dstStride, source.address, LocalPitch(p.blockLen, p.srcStride), p.blockCount,
          p.blockLen);
}

template <typename Function, typename... Operands>
void Vector(const char *, Site, Function compute, const Operands &...) {
  compute();
}

// --- order ---

inline void Release() { std::atomic_thread_fence(std::memory_order_release); }
inline void Acquire() { std::atomic_thread_fence(std::memory_order_acquire); }

inline TEventID FetchEvent(HardEvent, Site) { return 0; }  // any id does
inline void SetFlag(HardEvent, int32_t, Site) { Release(); }
inline void WaitFlag(HardEvent, int32_t, Site) { Acquire(); }
inline void PipeBarrier(pipe_t, Site) { Release(); }
inline void CleanCache(const uint8_t *, bool, Site) { Acquire(); }
inline void SyncAll(Site) {
  if (Self().blocks > 1) Self().barrier->Wait(Self().blocks);
}

inline int64_t BlockIndex() { return Self().block; }
inline int64_t BlockNumber() { return Self().blocks; }

// Only loops that wait for a peer read the clock: yield there, so that ranks which share cores get to run,
// and sleep once the wait is plainly not a matter of microseconds.
inline int64_t ReadClock(Site) {
  constexpr uint32_t kYields = 2000;
  constexpr useconds_t kSleepMicroseconds = 30;
  const uint32_t reads = ++Self().clock_reads;
  if (reads < kYields) {
    sched_yield();
  } else {
    if (void (*notice)() = Patience::on_long_wait; reads == kYields && notice != nullptr) notice();
    usleep(kSleepMicroseconds);
  }
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  const int64_t cycles = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count() / kNanosecondsPerCycle;
  return Patience::Lost() ? cycles + Patience::kJump : cycles;
}

}  // namespace AscendC::backend

#endif  // MOE_COMM_HOST_TWIN_FAST_BACKEND_H
