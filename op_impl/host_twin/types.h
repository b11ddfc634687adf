// Names of AscendC that both the API and its back ends need.
#ifndef MOE_COMM_HOST_TWIN_TYPES_H
#define MOE_COMM_HOST_TWIN_TYPES_H

#include <cstdint>

enum pipe_t { PIPE_S, PIPE_V, PIPE_MTE2, PIPE_MTE3, PIPE_ALL };

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
  MTE3_S,
  MAX
};

using TEventID = int8_t;
constexpr uint32_t kUbBlockBytes = 32;
// A core of Ascend 910B and 910_93 has 192 KB. CANN keeps 256 bytes of them and, by default, another 8 KB.
constexpr uint32_t kUnifiedBufferBytes = 192 * 1024 - 256 - 8 * 1024;

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

}  // namespace AscendC

namespace AscendC::backend {

// The events that order a queue's two pipes: kFilled from EnQue to DeQue, kFree from FreeTensor to AllocTensor.
template <TPosition from, TPosition to>
struct QueueEvents;
template <>
struct QueueEvents<TPosition::VECIN, TPosition::VECOUT> {
  static constexpr HardEvent kFilled = HardEvent::MTE2_MTE3, kFree = HardEvent::MTE3_MTE2;
};
template <>
struct QueueEvents<TPosition::GM, TPosition::VECIN> {
  static constexpr HardEvent kFilled = HardEvent::MTE2_V, kFree = HardEvent::V_MTE2;
};
template <>
struct QueueEvents<TPosition::VECOUT, TPosition::GM> {
  static constexpr HardEvent kFilled = HardEvent::V_MTE3, kFree = HardEvent::MTE3_V;
};

// A part of the unified buffer that an instruction reads or writes.
template <typename Local>
struct Operand {
  Local place;
  uint64_t bytes;
};

}  // namespace AscendC::backend

#endif  // MOE_COMM_HOST_TWIN_TYPES_H
