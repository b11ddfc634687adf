// How moe_decode_dispatch splits its work: plain C++, for the CPU and the Ascend launch alike.
#ifndef MOE_COMM_MOE_DECODE_DISPATCH_TILING_H
#define MOE_COMM_MOE_DECODE_DISPATCH_TILING_H

#include <algorithm>
#include <cstdint>

namespace moe_comm::decode_dispatch {

// A bf16 row of 14336 bytes twice; two such buffers beside the tables fit the unified buffer.
constexpr uint64_t kMaxRowBuffer = 28 * 1024;

// Bytes of a row that are loaded at once, a whole number of 32-byte blocks like the row itself.
inline uint32_t RowBufferBytes(uint64_t row_bytes) {
  return static_cast<uint32_t>(std::min(row_bytes, kMaxRowBuffer));
}

}  // namespace moe_comm::decode_dispatch

#endif  // MOE_COMM_MOE_DECODE_DISPATCH_TILING_H
