// Decode combine has few tokens, so the blocks share the tiles of all rows. One token's row can occupy many blocks.
#ifndef MOE_COMM_MOE_DECODE_COMBINE_H
#define MOE_COMM_MOE_DECODE_COMBINE_H

#include "kernel/combine.h"

namespace moe_comm {

struct SplitOfTiles {
  static constexpr uint32_t kPlanWords = kPlanHeaderWords;
  template <typename T>
  __aicore__ static inline void Reduce(Combine<T> &combine, uint32_t token_num) {
    const uint64_t tiles = token_num * combine.TilesPerToken();
    const uint64_t block = Block();
    combine.Reduce(tiles * block / Blocks(), tiles * (block + 1) / Blocks());
  }
};

__aicore__ inline void MoeDecodeCombine(const MoeDecodeCombineArguments &arguments) {
  RunCombine<SplitOfTiles>(arguments);
}

}  // namespace moe_comm

#endif  // MOE_COMM_MOE_DECODE_COMBINE_H
