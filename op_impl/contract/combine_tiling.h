// How both combine operators cut a row: plain C++, for the CPU and the Ascend launch alike.
#ifndef MOE_COMM_CONTRACT_COMBINE_TILING_H
#define MOE_COMM_CONTRACT_COMBINE_TILING_H

#include <algorithm>
#include <cstdint>

namespace moe_comm {

constexpr uint64_t kMaxTileElements = 4096;  // three fp32 and four row buffers of them fit the unified buffer

// Elements of a row that are reduced at once. Every tile begins on a 32-byte block.
inline uint32_t TileElements(uint64_t hidden_size) {
  return static_cast<uint32_t>(std::min(hidden_size, kMaxTileElements));
}

}  // namespace moe_comm

#endif  // MOE_COMM_CONTRACT_COMBINE_TILING_H
