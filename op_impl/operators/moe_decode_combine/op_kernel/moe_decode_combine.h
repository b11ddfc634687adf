// Decode combine has few tokens, so the blocks share the tiles of all rows. One token's row can occupy many blocks.
#ifndef MOE_COMM_MOE_DECODE_COMBINE_H
#define MOE_COMM_MOE_DECODE_COMBINE_H

#include "kernel/combine.h"
#include "kernel/visit_dtype.h"

namespace moe_comm {

template <typename T>
__aicore__ inline void DecodeCombine(const CombineArguments &arguments) {
  AscendC::TPipe pipe;
  Combine<T> combine;
  combine.Init(arguments, kPlanHeaderWords, &pipe);
  if (combine.Open()) {
    const uint64_t tiles = arguments.token_num * combine.TilesPerToken();
    const uint64_t block = Block();
    combine.Reduce(tiles * block / Blocks(), tiles * (block + 1) / Blocks());
  }
  combine.Close();
}

struct DecodeCombineOf {
  const CombineArguments &arguments;
  template <typename T>
  __aicore__ inline void Visit() const {
    DecodeCombine<T>(arguments);
  }
};

__aicore__ inline void MoeDecodeCombine(const MoeDecodeCombineArguments &arguments) {
  if (!VisitDtype(arguments.dtype, DecodeCombineOf{arguments})) RefuseDtype(arguments);
}

}  // namespace moe_comm

#endif  // MOE_COMM_MOE_DECODE_COMBINE_H
