// The AscendC kernel API as declarations only, for clang's syntax check with distinct address spaces.
//
// The host twin runs the kernels in one address space, where a pointer into global memory, into the unified buffer and
// to a local variable are the same thing. Here they are three, so that a pointer of the wrong one is an error, as it
// is for CANN's compiler. tests/address_spaces.sh puts this directory first in the include path. It has only what the
// kernels use, under AscendC's own names and signatures. Nothing has a body, and nothing is ever linked.
#ifndef MOE_COMM_HOST_TWIN_ADDRESS_SPACES_KERNEL_OPERATOR_H
#define MOE_COMM_HOST_TWIN_ADDRESS_SPACES_KERNEL_OPERATOR_H

#include <cstdint>
#include <type_traits>

#define __global__
#define __aicore__
#define __gm__ __attribute__((address_space(1)))
#define __ubuf__ __attribute__((address_space(2)))
#define GM_ADDR __gm__ uint8_t *
#define KERNEL_TASK_TYPE_DEFAULT(type) static_assert(type == KERNEL_TYPE_MIX_AIV_1_0, "SyncAll needs this kernel type")

enum KernelMetaType { KERNEL_TYPE_AIV_ONLY, KERNEL_TYPE_MIX_AIV_1_0 };
enum pipe_t { PIPE_S, PIPE_V, PIPE_MTE2, PIPE_MTE3, PIPE_ALL };

// Kernels move these types and never compute with them one by one: no operator is declared.
struct half {
  uint16_t bits;
};
struct bfloat16_t {
  uint16_t bits;
};

namespace AscendC {

enum class TPosition : uint8_t { GM, VECIN, VECOUT, VECCALC };
enum class HardEvent : uint8_t {
  MTE2_V,
  V_MTE2,
  MTE3_V,
  V_MTE3,
  MTE2_MTE3,
  MTE3_MTE2,
  V_S,
  S_V,
  S_MTE2,
  MTE2_S,
  S_MTE3,
  MTE3_S
};
enum class RoundMode : uint8_t { CAST_NONE, CAST_RINT };
enum class CacheLine : uint64_t { SINGLE_CACHE_LINE, ENTIRE_DATA_CACHE };
enum class DcciDst : uint64_t { CACHELINE_ALL, CACHELINE_UB, CACHELINE_OUT };

using TEventID = int8_t;

struct DataCopyExtParams {
  DataCopyExtParams();
  DataCopyExtParams(uint16_t block_count, uint32_t block_len, uint32_t src_stride, uint32_t dst_stride, uint32_t rsv);
  uint16_t blockCount;
  uint32_t blockLen;
  uint32_t srcStride;
  uint32_t dstStride;
  uint32_t rsv;
};

template <typename T>
struct DataCopyPadExtParams {
  DataCopyPadExtParams();
  DataCopyPadExtParams(bool is_pad, uint8_t left_padding, uint8_t right_padding, T padding_value);
  bool isPad;
  uint8_t leftPadding;
  uint8_t rightPadding;
  T paddingValue;
};

template <typename T>
class LocalTensor {
 public:
  using PrimType = T;
  T GetValue(uint32_t index) const;
  template <typename V>
  void SetValue(uint32_t index, V value) const;
  LocalTensor operator[](uint32_t offset) const;
  __ubuf__ T &operator()(uint32_t offset) const;
  template <typename U>
  LocalTensor<U> ReinterpretCast() const;
  uint32_t GetSize() const;
  uint64_t GetPhyAddr() const;  // an integer on the device: the offset in the unified buffer
};

template <typename T>
class GlobalTensor {
 public:
  using PrimType = T;
  void SetGlobalBuffer(__gm__ T *buffer);
  void SetGlobalBuffer(__gm__ T *buffer, uint64_t elements);
  T GetValue(uint64_t index) const;
  void SetValue(uint64_t index, T value);
  GlobalTensor operator[](uint64_t offset) const;
  __gm__ T &operator()(uint64_t offset) const;
  const __gm__ T *GetPhyAddr() const;
};

template <TPosition position>
class TBuf {
 public:
  template <typename T>
  LocalTensor<T> Get();
  template <typename T>
  LocalTensor<T> Get(uint32_t elements);
};

template <TPosition from, TPosition to, int32_t depth>
class TQueBind {
 public:
  template <typename T>
  LocalTensor<T> AllocTensor();
  template <typename T>
  bool EnQue(const LocalTensor<T> &tensor);
  template <typename T>
  LocalTensor<T> DeQue();
  template <typename T>
  void FreeTensor(LocalTensor<T> &tensor);
};

template <TPosition position, int32_t depth>
class TQue : public TQueBind<position == TPosition::VECOUT ? TPosition::VECOUT : TPosition::GM,
                             position == TPosition::VECOUT ? TPosition::GM : position, depth> {};

class TPipe {
 public:
  TPipe();
  ~TPipe();
  template <TPosition position>
  bool InitBuffer(TBuf<position> &buffer, uint32_t bytes);
  template <TPosition from, TPosition to, int32_t depth>
  bool InitBuffer(TQueBind<from, to, depth> &queue, uint8_t count, uint32_t bytes);
  TEventID FetchEventID(HardEvent event);
};

// A move from global memory to the unified buffer takes four arguments, the other direction three.
template <typename T>
void DataCopyPad(const LocalTensor<T> &target, const GlobalTensor<T> &source, const DataCopyExtParams &move,
                 const DataCopyPadExtParams<T> &padding);
template <typename T>
void DataCopyPad(const GlobalTensor<T> &target, const LocalTensor<T> &source, const DataCopyExtParams &move);

template <typename T>
void Duplicate(const LocalTensor<T> &target, const T &value, const int32_t &count);
template <typename T>
void Add(const LocalTensor<T> &target, const LocalTensor<T> &a, const LocalTensor<T> &b, const int32_t &count);
template <typename T>
void Exp(const LocalTensor<T> &target, const LocalTensor<T> &source, const int32_t &count);
template <typename T>
void Muls(const LocalTensor<T> &target, const LocalTensor<T> &a, const T &factor, const int32_t &count);
template <typename T>
void Mul(const LocalTensor<T> &target, const LocalTensor<T> &a, const LocalTensor<T> &b, const int32_t &count);
template <typename T>
void Max(const LocalTensor<T> &target, const LocalTensor<T> &a, const LocalTensor<T> &b, const int32_t &count);
template <typename T>
void ShiftLeft(const LocalTensor<T> &target, const LocalTensor<T> &a, const T &bits, const int32_t &count);
template <typename T>
void ShiftRight(const LocalTensor<T> &target, const LocalTensor<T> &a, const T &bits, const int32_t &count);
template <typename To, typename From>
void Cast(const LocalTensor<To> &target, const LocalTensor<From> &source, const RoundMode &mode, const uint32_t count);

template <HardEvent event>
void SetFlag(int32_t id);
template <HardEvent event>
void WaitFlag(int32_t id);
template <pipe_t pipe>
void PipeBarrier();
template <bool isAIVOnly = true>
void SyncAll();
template <typename T, CacheLine entireType, DcciDst dcciDst>
void DataCacheCleanAndInvalid(const GlobalTensor<T> &line);

int64_t GetBlockIdx();
int64_t GetBlockNum();
int64_t GetSystemCycle();

}  // namespace AscendC

AscendC::TPipe *GetTPipePtr();

#endif  // MOE_COMM_HOST_TWIN_ADDRESS_SPACES_KERNEL_OPERATOR_H
