// How moe_decode_dispatch splits its work: plain C++, for the CPU and the Ascend launch alike.
#ifndef MOE_COMM_MOE_DECODE_DISPATCH_TILING_H
#define MOE_COMM_MOE_DECODE_DISPATCH_TILING_H

#include <algorithm>
#include <cstdint>

namespace moe_comm::decode_dispatch {

// Two bf16 rows of 14336 bytes; two such buffers fit the unified buffer beside the tables.
constexpr uint64_t kMaxRowBuffer = 28 * 1024;

// How many bytes of a row are loaded at once. Like the row, they are a whole number of 32-byte blocks.
inline uint32_t RowBufferBytes(uint64_t row_bytes) { return static_cast<uint32_t>(std::min(row_bytes, kMaxRowBuffer)); }

}  // namespace moe_comm::decode_dispatch

#endif  // MOE_COMM_MOE_DECODE_DISPATCH_TILING_H
