// How moe_prefill_dispatch splits its work: plain C++, for the CPU and the Ascend launch alike.
#ifndef MOE_COMM_MOE_PREFILL_DISPATCH_TILING_H
#define MOE_COMM_MOE_PREFILL_DISPATCH_TILING_H

#include <algorithm>
#include <cstdint>

namespace moe_comm::prefill_dispatch {

// Two bf16 rows of 14336 bytes; two such buffers fit the unified buffer beside the tables.
constexpr uint64_t kMaxRowBuffer = 28 * 1024;
constexpr uint64_t kMaxBatchPairs = 64;   // (token, column) pairs whose order is sorted at once
constexpr uint64_t kMaxBatchTokens = 32;  // a tile of the kernel's

struct Tiling {
  uint32_t row_buffer_bytes;
  uint32_t batch_tokens;  // tokens loaded at once; 0: a row is longer than a buffer and moves in pieces
};

inline Tiling Split(uint64_t row_bytes, uint32_t columns) {
  if (row_bytes > kMaxRowBuffer) return {static_cast<uint32_t>(kMaxRowBuffer), 0};
  const uint64_t tokens = std::min({kMaxRowBuffer / row_bytes, kMaxBatchTokens,
                                    std::max<uint64_t>(1, kMaxBatchPairs / columns)});
  return {static_cast<uint32_t>(tokens * row_bytes), static_cast<uint32_t>(tokens)};
}

}  // namespace moe_comm::prefill_dispatch

#endif  // MOE_COMM_MOE_PREFILL_DISPATCH_TILING_H
