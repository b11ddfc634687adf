// The host twin of the AscendC kernel API: lets the kernels of this project, unchanged, run on a CPU.
//
// The include path alone decides which kernel_operator.h a kernel sees, CANN's or this one. This file has only what the
// kernels use, under AscendC's own names, signatures and limits; whatever it accepts, CANN accepts too. A back end,
// backend.h, decides what an instruction does. The include path picks it as well:
//   fast/   each instruction executes at once: the production CPU backend
//   check/  all cores of all ranks in one thread under a seeded scheduler that looks for broken rules
// A function's last argument, the Site of the call, has no counterpart in AscendC and is never given.
#ifndef MOE_COMM_HOST_TWIN_KERNEL_OPERATOR_H
#define MOE_COMM_HOST_TWIN_KERNEL_OPERATOR_H

#include <cstdint>
#include <type_traits>

#include "backend.h"
#include "numerics.h"
#include "types.h"

#define __global__
#define __aicore__
#define __gm__
#define GM_ADDR __gm__ uint8_t *
#define KERNEL_TASK_TYPE_DEFAULT(type) static_assert(type == KERNEL_TYPE_MIX_AIV_1_0, "vector kernels only")

enum KernelMetaType { KERNEL_TYPE_MIX_AIV_1_0 };

namespace AscendC {

using backend::Site;

enum class RoundMode { CAST_NONE, CAST_RINT };
enum class CacheLine { SINGLE_CACHE_LINE, ENTIRE_DATA_CACHE };
enum class DcciDst { CACHELINE_ALL, CACHELINE_UB, CACHELINE_OUT };

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
  LocalTensor(const backend::Local &place, uint32_t bytes) : place_(place), bytes_(bytes) {}
  T GetValue(uint32_t index, Site site = Site::Here()) const {
    return backend::ReadLocal<T>(place_, index * sizeof(T), site);
  }
  template <typename V>
  void SetValue(uint32_t index, V value, Site site = Site::Here()) const {
    static_assert(std::is_same<V, T>::value, "a scalar of exactly the tensor's type");
    backend::WriteLocal<T>(place_, index * sizeof(T), value, site);
  }
  LocalTensor operator[](uint32_t offset) const {
    const uint32_t bytes = offset * static_cast<uint32_t>(sizeof(T));
    return LocalTensor(place_.At(bytes), bytes_ - bytes);
  }
  template <typename U>
  LocalTensor<U> ReinterpretCast() const {
    return LocalTensor<U>(place_, bytes_);
  }
  uint32_t GetSize() const { return bytes_ / sizeof(T); }

  // for the twin itself
  const backend::Local &Place() const { return place_; }
  T *Data() const { return reinterpret_cast<T *>(place_.address); }
  backend::Operand<backend::Local> First(uint64_t count) const { return {place_, count * sizeof(T)}; }

 private:
  backend::Local place_;
  uint32_t bytes_ = 0;
};

template <typename T>
class GlobalTensor {
 public:
  using PrimType = T;
  void SetGlobalBuffer(__gm__ T *address) { address_ = address; }
  void SetGlobalBuffer(__gm__ T *address, uint64_t) { address_ = address; }
  T GetValue(uint64_t index, Site site = Site::Here()) const { return backend::ReadGlobal(address_ + index, site); }
  void SetValue(uint64_t index, T value, Site site = Site::Here()) {
    backend::WriteGlobal(address_ + index, value, site);
  }
  GlobalTensor operator[](uint64_t offset) const {
    GlobalTensor shifted;
    shifted.SetGlobalBuffer(address_ + offset);
    return shifted;
  }
  const T *GetPhyAddr() const { return address_; }
  uint8_t *Data() const { return reinterpret_cast<uint8_t *>(address_); }  // for the twin itself

 private:
  T *address_ = nullptr;
};

// --- buffers of local memory ---

template <TPosition position>
class TBuf {
 public:
  template <typename T>
  LocalTensor<T> Get() {
    return LocalTensor<T>(place_, bytes_);
  }
  template <typename T>
  LocalTensor<T> Get(uint32_t count) {
    return LocalTensor<T>(place_, count * sizeof(T));
  }

 private:
  friend class TPipe;
  backend::Local place_;
  uint32_t bytes_ = 0;
};

// Buffers that pass from one pipe to another in order.
template <TPosition from, TPosition to, int32_t depth>
class TQueBind {
 public:
  template <typename T>
  LocalTensor<T> AllocTensor(Site site = Site::Here()) {
    return LocalTensor<T>(queue_.Alloc(site), bytes_);
  }
  template <typename T>
  bool EnQue(const LocalTensor<T> &tensor, Site site = Site::Here()) {
    queue_.EnQue(tensor.Place(), site);
    return true;
  }
  template <typename T>
  LocalTensor<T> DeQue(Site site = Site::Here()) {
    return LocalTensor<T>(queue_.DeQue(site), bytes_);
  }
  template <typename T>
  void FreeTensor(LocalTensor<T> &tensor, Site site = Site::Here()) {
    queue_.Free(tensor.Place(), site);
  }

 private:
  friend class TPipe;
  using Events = backend::QueueEvents<from, to>;
  backend::Queue<Events::kFilled, Events::kFree, depth> queue_;
  uint32_t bytes_ = 0;
};

template <TPosition position, int32_t depth>
using TQue = TQueBind<position == TPosition::VECOUT ? TPosition::VECOUT : TPosition::GM,
                      position == TPosition::VECOUT ? TPosition::GM : position, depth>;

class TPipe {
 public:
  explicit TPipe(Site site = Site::Here()) { backend::OpenPipe(this, site); }
  ~TPipe() { backend::ClosePipe(); }
  TPipe(const TPipe &) = delete;
  TPipe &operator=(const TPipe &) = delete;

  template <TPosition position>
  bool InitBuffer(TBuf<position> &buffer, uint32_t bytes, Site site = Site::Here()) {
    buffer.bytes_ = RoundUp(bytes);
    buffer.place_ = backend::TakeBuffer(buffer.bytes_, site);
    return true;
  }
  template <TPosition from, TPosition to, int32_t depth>
  bool InitBuffer(TQueBind<from, to, depth> &queue, uint8_t count, uint32_t bytes, Site site = Site::Here()) {
    queue.bytes_ = RoundUp(bytes);
    queue.queue_.Init(count, queue.bytes_, site);
    return true;
  }
  TEventID FetchEventID(HardEvent event, Site site = Site::Here()) { return backend::FetchEvent(event, site); }

 private:
  static uint32_t RoundUp(uint32_t bytes) { return (bytes + kUbBlockBytes - 1) / kUbBlockBytes * kUbBlockBytes; }
};

// --- moves ---

template <typename T>
void DataCopyPad(const LocalTensor<T> &target, const GlobalTensor<T> &source, const DataCopyExtParams &p,
                 const DataCopyPadExtParams<T> &padding, Site site = Site::Here()) {
  backend::Require(!padding.isPad && padding.leftPadding == 0 && padding.rightPadding == 0,
                   "DataCopyPad: the twin knows no padding values", site);
  backend::MoveIn<T>(target.Place(), source.Data(), p, site);
}

template <typename T>
void DataCopyPad(const GlobalTensor<T> &target, const LocalTensor<T> &source, const DataCopyExtParams &p,
                 Site site = Site::Here()) {
  backend::MoveOut<T>(target.Data(), source.Place(), p, site);
}

// --- vector instructions, `count` elements from the start of each tensor ---

template <typename T>
void Duplicate(const LocalTensor<T> &target, const T &value, const int32_t &count, Site site = Site::Here()) {
  backend::Vector("Duplicate", site, [target, value, count] { numerics::Fill(target.Data(), value, count); },
                  target.First(count));
}

template <typename T>
void Add(const LocalTensor<T> &target, const LocalTensor<T> &a, const LocalTensor<T> &b, const int32_t &count,
         Site site = Site::Here()) {
  static_assert(std::is_same<T, float>::value || std::is_same<T, int32_t>::value, "types of the kernels");
  backend::Vector("Add", site, [target, a, b, count] { numerics::Add(target.Data(), a.Data(), b.Data(), count); },
                  target.First(count), a.First(count), b.First(count));
}

template <typename T>
void Exp(const LocalTensor<T> &target, const LocalTensor<T> &source, const int32_t &count, Site site = Site::Here()) {
  static_assert(std::is_same<T, float>::value, "types of the kernels");
  backend::Vector("Exp", site, [target, source, count] { numerics::Exp(target.Data(), source.Data(), count); },
                  target.First(count), source.First(count));
}

template <typename T>
void Muls(const LocalTensor<T> &target, const LocalTensor<T> &a, const T &factor, const int32_t &count,
          Site site = Site::Here()) {
  static_assert(std::is_same<T, float>::value, "types of the kernels");
  backend::Vector("Muls", site, [target, a, factor, count] { numerics::Scale(target.Data(), a.Data(), factor, count); },
                  target.First(count), a.First(count));
}

template <typename T>
void Mul(const LocalTensor<T> &target, const LocalTensor<T> &a, const LocalTensor<T> &b, const int32_t &count,
         Site site = Site::Here()) {
  static_assert(std::is_same<T, float>::value, "types of the kernels");
  backend::Vector("Mul", site, [target, a, b, count] { numerics::Multiply(target.Data(), a.Data(), b.Data(), count); },
                  target.First(count), a.First(count), b.First(count));
}

template <typename T>
void Max(const LocalTensor<T> &target, const LocalTensor<T> &a, const LocalTensor<T> &b, const int32_t &count,
         Site site = Site::Here()) {
  static_assert(std::is_same<T, int32_t>::value, "types of the kernels");
  backend::Vector("Max", site, [target, a, b, count] { numerics::Max(target.Data(), a.Data(), b.Data(), count); },
                  target.First(count), a.First(count), b.First(count));
}

template <typename T>
void ShiftLeft(const LocalTensor<T> &target, const LocalTensor<T> &a, const T &bits, const int32_t &count,
               Site site = Site::Here()) {
  static_assert(std::is_same<T, uint32_t>::value, "types of the kernels");
  backend::Vector("ShiftLeft", site, [target, a, bits, count] {
    numerics::ShiftLeft(target.Data(), a.Data(), bits, count);
  }, target.First(count), a.First(count));
}

template <typename T>
void ShiftRight(const LocalTensor<T> &target, const LocalTensor<T> &a, const T &bits, const int32_t &count,
                Site site = Site::Here()) {
  static_assert(std::is_same<T, uint32_t>::value, "types of the kernels");
  backend::Vector("ShiftRight", site, [target, a, bits, count] {
    numerics::ShiftRight(target.Data(), a.Data(), bits, count);
  }, target.First(count), a.First(count));
}

template <typename To, typename From>
void Cast(const LocalTensor<To> &target, const LocalTensor<From> &source, const RoundMode &mode, const uint32_t &count,
          Site site = Site::Here()) {
  // widening is exact and takes CAST_NONE; every other cast rounds half to even (float to float: to a whole number)
  backend::Require((mode == RoundMode::CAST_NONE) == (sizeof(To) > sizeof(From)), "Cast: wrong RoundMode", site);
  backend::Vector("Cast", site, [target, source, count] {
    numerics::Convert(target.Data(), static_cast<const From *>(source.Data()), count);
  }, target.First(count), source.First(count));
}

// --- order ---

template <HardEvent event>
void SetFlag(int32_t id, Site site = Site::Here()) {
  backend::SetFlag(event, id, site);
}
template <HardEvent event>
void WaitFlag(int32_t id, Site site = Site::Here()) {
  backend::WaitFlag(event, id, site);
}
template <pipe_t pipe>
void PipeBarrier(Site site = Site::Here()) {
  backend::PipeBarrier(pipe, site);
}
template <bool isAIVOnly = true>
void SyncAll(Site site = Site::Here()) {
  backend::SyncAll(site);
}
template <typename T, CacheLine entireType, DcciDst dcciDst>
void DataCacheCleanAndInvalid(const GlobalTensor<T> &tensor, Site site = Site::Here()) {
  backend::CleanCache(tensor.Data(), entireType == CacheLine::ENTIRE_DATA_CACHE, site);
}

inline int64_t GetBlockIdx() { return backend::BlockIndex(); }
inline int64_t GetBlockNum() { return backend::BlockNumber(); }
inline int64_t GetSystemCycle(Site site = Site::Here()) { return backend::ReadClock(site); }

}  // namespace AscendC

inline AscendC::TPipe *GetTPipePtr() { return static_cast<AscendC::TPipe *>(AscendC::backend::CurrentPipe()); }

#endif  // MOE_COMM_HOST_TWIN_KERNEL_OPERATOR_H
