// The host twin of the AscendC kernel API: lets the kernels of this project, unchanged, run on a CPU.
//
// The include path alone decides which kernel_operator.h a kernel sees, CANN's or this one. Only what the kernels
// use is here, under AscendC's own names, signatures and limits; whatever this file accepts, CANN accepts too.
// What an instruction does is decided by a back end of a dozen hooks (fast/backend.h).
#ifndef MOE_COMM_HOST_TWIN_KERNEL_OPERATOR_H
#define MOE_COMM_HOST_TWIN_KERNEL_OPERATOR_H

#include <cstdint>
#include <type_traits>

#include "fast/backend.h"
#include "numerics.h"

#define __global__
#define __aicore__
#define __gm__
#define GM_ADDR __gm__ uint8_t *
#define KERNEL_TASK_TYPE_DEFAULT(type) static_assert(type == KERNEL_TYPE_MIX_AIV_1_0, "vector kernels only")

enum KernelMetaType { KERNEL_TYPE_MIX_AIV_1_0 };
enum pipe_t { PIPE_S, PIPE_V, PIPE_MTE2, PIPE_MTE3, PIPE_ALL };
namespace AscendC {

enum class TPosition : uint8_t { GM, VECIN, VECOUT, VECCALC };
enum class HardEvent : uint8_t {
  MTE2_V, V_MTE2, MTE3_V, V_MTE3, MTE2_MTE3, MTE3_MTE2, V_S, S_V, S_MTE2, MTE2_S, S_MTE3, MTE3_S
};
enum class RoundMode { CAST_NONE, CAST_RINT };
enum class CacheLine { SINGLE_CACHE_LINE, ENTIRE_DATA_CACHE };
enum class DcciDst { CACHELINE_ALL, CACHELINE_UB, CACHELINE_OUT };

using TEventID = int8_t;
constexpr uint32_t kUbBlockBytes = 32;

// Lengths and global gaps in bytes, gaps of local memory in 32-byte blocks.
struct DataCopyExtParams {
  uint16_t blockCount = 1;
  uint32_t blockLen = 0;
  uint32_t srcStride = 0;
  uint32_t dstStride = 0;
  uint32_t rsv = 0;
  DataCopyExtParams() = default;
  DataCopyExtParams(uint16_t count, uint32_t length, uint32_t source_gap, uint32_t target_gap, uint32_t reserved)
      : blockCount(count), blockLen(length), srcStride(source_gap), dstStride(target_gap), rsv(reserved) {}
};

template <typename T>
struct DataCopyPadExtParams {
  bool isPad = false;
  uint8_t leftPadding = 0;
  uint8_t rightPadding = 0;
  T paddingValue{};
  DataCopyPadExtParams() = default;
  DataCopyPadExtParams(bool pad, uint8_t left, uint8_t right, T value)
      : isPad(pad), leftPadding(left), rightPadding(right), paddingValue(value) {}
};

template <typename T>
class LocalTensor {
 public:
  using PrimType = T;
  LocalTensor() = default;
  LocalTensor(uint8_t *address, uint32_t bytes) : address_(address), bytes_(bytes) {}
  T GetValue(uint32_t index) const { return reinterpret_cast<const T *>(address_)[index]; }
  template <typename V>
  void SetValue(uint32_t index, V value) const {
    static_assert(std::is_same<V, T>::value, "a scalar of exactly the tensor's type");
    reinterpret_cast<T *>(address_)[index] = value;
  }
  LocalTensor operator[](uint32_t offset) const {
    return LocalTensor(address_ + offset * sizeof(T), bytes_ - offset * static_cast<uint32_t>(sizeof(T)));
  }
  template <typename U>
  LocalTensor<U> ReinterpretCast() const {
    return LocalTensor<U>(address_, bytes_);
  }
  uint32_t GetSize() const { return bytes_ / sizeof(T); }
  uint8_t *Address() const { return address_; }  // for the twin itself

 private:
  uint8_t *address_ = nullptr;
  uint32_t bytes_ = 0;
};

template <typename T>
class GlobalTensor {
 public:
  using PrimType = T;
  void SetGlobalBuffer(__gm__ T *address) { address_ = address; }
  void SetGlobalBuffer(__gm__ T *address, uint64_t) { address_ = address; }
  T GetValue(uint64_t index) const { return address_[index]; }
  GlobalTensor operator[](uint64_t offset) const {
    GlobalTensor shifted;
    shifted.SetGlobalBuffer(address_ + offset);
    return shifted;
  }
  const T *GetPhyAddr() const { return address_; }
  T *Address() const { return address_; }  // for the twin itself

 private:
  T *address_ = nullptr;
};

// --- buffers of local memory ---

template <TPosition position>
class TBuf {
 public:
  template <typename T>
  LocalTensor<T> Get() {
    return LocalTensor<T>(address_, bytes_);
  }
  template <typename T>
  LocalTensor<T> Get(uint32_t count) {
    return LocalTensor<T>(address_, count * sizeof(T));
  }

 private:
  friend class TPipe;
  uint8_t *address_ = nullptr;
  uint32_t bytes_ = 0;
};

// Buffers that pass from one pipe to another in order. One instruction after the other, as here, needs no event.
template <TPosition from, TPosition to, int32_t depth>
class TQueBind {
 public:
  template <typename T>
  LocalTensor<T> AllocTensor() {
    uint8_t *buffer = address_ + next_ * bytes_;
    next_ = (next_ + 1) % count_;
    return LocalTensor<T>(buffer, bytes_);
  }
  template <typename T>
  bool EnQue(const LocalTensor<T> &tensor) {
    queued_[tail_++ % kSlots] = tensor.Address();
    return true;
  }
  template <typename T>
  LocalTensor<T> DeQue() {
    return LocalTensor<T>(queued_[head_++ % kSlots], bytes_);
  }
  template <typename T>
  void FreeTensor(LocalTensor<T> &) {}

 private:
  friend class TPipe;
  static constexpr uint32_t kSlots = 8;
  uint8_t *address_ = nullptr;
  uint32_t bytes_ = 0;
  uint32_t count_ = 0;
  uint32_t next_ = 0;
  uint32_t head_ = 0;
  uint32_t tail_ = 0;
  uint8_t *queued_[kSlots] = {};
};

template <TPosition position, int32_t depth>
using TQue = TQueBind<position == TPosition::VECOUT ? TPosition::VECOUT : TPosition::GM,
                      position == TPosition::VECOUT ? TPosition::GM : position, depth>;

class TPipe {
 public:
  TPipe() {
    backend::ResetUnifiedBuffer();
    Current() = this;
  }
  static TPipe *&Current() {
    static thread_local TPipe *current = nullptr;
    return current;
  }
  template <TPosition position>
  bool InitBuffer(TBuf<position> &buffer, uint32_t bytes) {
    buffer.bytes_ = RoundUp(bytes);
    buffer.address_ = backend::TakeUnifiedBuffer(buffer.bytes_);
    return true;
  }
  template <TPosition from, TPosition to, int32_t depth>
  bool InitBuffer(TQueBind<from, to, depth> &queue, uint8_t count, uint32_t bytes) {
    queue.bytes_ = RoundUp(bytes);
    queue.count_ = count;
    queue.address_ = backend::TakeUnifiedBuffer(queue.bytes_ * count);
    return true;
  }
  TEventID FetchEventID(HardEvent) { return 0; }  // one instruction after the other: any id does

 private:
  static uint32_t RoundUp(uint32_t bytes) { return (bytes + kUbBlockBytes - 1) / kUbBlockBytes * kUbBlockBytes; }
};

// --- moves ---

template <typename T>
void DataCopyPad(const LocalTensor<T> &target, const GlobalTensor<T> &source, const DataCopyExtParams &p,
                 const DataCopyPadExtParams<T> &) {
  const uint32_t pitch = (p.blockLen + kUbBlockBytes - 1) / kUbBlockBytes * kUbBlockBytes;
  backend::Move<T>(target.Address(), pitch + p.dstStride * kUbBlockBytes,
                   reinterpret_cast<const uint8_t *>(source.Address()), p.blockLen + p.srcStride, p.blockCount,
                   p.blockLen);
}

template <typename T>
void DataCopyPad(const GlobalTensor<T> &target, const LocalTensor<T> &source, const DataCopyExtParams &p) {
  const uint32_t pitch = (p.blockLen + kUbBlockBytes - 1) / kUbBlockBytes * kUbBlockBytes;
  backend::Move<T>(reinterpret_cast<uint8_t *>(target.Address()), p.blockLen + p.dstStride, source.Address(),
                   pitch + p.srcStride * kUbBlockBytes, p.blockCount, p.blockLen);
}

// --- vector instructions, `count` elements from the start of each tensor ---

template <typename T>
void Duplicate(const LocalTensor<T> &target, const T &value, const int32_t &count) {
  numerics::Fill(reinterpret_cast<T *>(target.Address()), value, count);
}

template <typename T>
void Add(const LocalTensor<T> &target, const LocalTensor<T> &a, const LocalTensor<T> &b, const int32_t &count) {
  static_assert(std::is_same<T, float>::value || std::is_same<T, int32_t>::value, "types of the kernels");
  numerics::Add(reinterpret_cast<T *>(target.Address()), reinterpret_cast<const T *>(a.Address()),
                reinterpret_cast<const T *>(b.Address()), count);
}

template <typename T>
void Muls(const LocalTensor<T> &target, const LocalTensor<T> &a, const T &factor, const int32_t &count) {
  static_assert(std::is_same<T, float>::value, "types of the kernels");
  numerics::Scale(reinterpret_cast<T *>(target.Address()), reinterpret_cast<const T *>(a.Address()), factor, count);
}

template <typename To, typename From>
void Cast(const LocalTensor<To> &target, const LocalTensor<From> &source, const RoundMode &mode,
          const uint32_t &count) {
  // widening is exact and takes CAST_NONE, narrowing rounds half to even
  backend::Require((mode == RoundMode::CAST_NONE) == (sizeof(To) > sizeof(From)), "Cast: wrong RoundMode");
  numerics::Convert(reinterpret_cast<To *>(target.Address()), reinterpret_cast<const From *>(source.Address()), count);
}

// --- order ---

template <HardEvent event>
void SetFlag(int32_t) {
  backend::Release();
}
template <HardEvent event>
void WaitFlag(int32_t) {
  backend::Acquire();
}
template <pipe_t pipe>
void PipeBarrier() {
  backend::Release();
}
template <bool isAIVOnly = true>
void SyncAll() {
  backend::Barrier();
}
template <typename T, CacheLine entireType, DcciDst dcciDst>
void DataCacheCleanAndInvalid(const GlobalTensor<T> &) {
  backend::Acquire();
}

inline int64_t GetBlockIdx() { return backend::Self().block; }
inline int64_t GetBlockNum() { return backend::Self().blocks; }
inline int64_t GetSystemCycle() { return backend::ReadClock(); }

}  // namespace AscendC

inline AscendC::TPipe *GetTPipePtr() { return AscendC::TPipe::Current(); }

#endif  // MOE_COMM_HOST_TWIN_KERNEL_OPERATOR_H
