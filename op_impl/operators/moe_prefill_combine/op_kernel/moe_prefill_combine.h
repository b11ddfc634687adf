// Prefill combine has many tokens. The blocks share them as dispatch's plan says: by the rows to read, not by tokens.
#ifndef MOE_COMM_MOE_PREFILL_COMBINE_H
#define MOE_COMM_MOE_PREFILL_COMBINE_H

#include "kernel/combine.h"

namespace moe_comm {

struct SplitOfPlan {
  static constexpr uint32_t kPlanWords = kPlanOrder;
  template <typename T>
  __aicore__ static inline void Reduce(Combine<T> &combine, uint32_t token_num) {
    const uint64_t tiles = combine.TilesPerToken();
    combine.Reduce(FirstToken(combine, token_num, Block()) * tiles,
                   FirstToken(combine, token_num, Block() + 1) * tiles);
  }

 private:
  // The first token of `block` in the plan. Blocks get equal shares if dispatch ran on another number of cores.
  template <typename T>
  __aicore__ static inline uint64_t FirstToken(const Combine<T> &combine, uint32_t token_num, uint32_t block) {
    if (combine.Plan(kPlanBlocks) != static_cast<int32_t>(Blocks())) return Share(token_num, block, Blocks());
    return static_cast<uint64_t>(combine.Plan(kPlanStarts + block));
  }
};

__aicore__ inline void MoePrefillCombine(const MoePrefillCombineArguments &arguments) {
  RunCombine<SplitOfPlan>(arguments);
}

}  // namespace moe_comm

#endif  // MOE_COMM_MOE_PREFILL_COMBINE_H
