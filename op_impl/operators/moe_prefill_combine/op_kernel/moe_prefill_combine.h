// Prefill combine: many tokens, split over the blocks as dispatch's plan says, by the rows to read and not by tokens.
#ifndef MOE_COMM_MOE_PREFILL_COMBINE_H
#define MOE_COMM_MOE_PREFILL_COMBINE_H

#include "contract/plan_layout.h"
#include "kernel/combine.h"
#include "kernel/visit_dtype.h"

namespace moe_comm {

// The plan's first token of `block`, or an equal share where the dispatch was launched on other cores.
__aicore__ inline uint64_t FirstToken(const AscendC::LocalTensor<int32_t> &plan, uint32_t token_num, uint32_t block) {
  const uint32_t blocks = static_cast<uint32_t>(AscendC::GetBlockNum());
  if (plan.GetValue(kPlanBlocks) != static_cast<int32_t>(blocks)) {
    return Share(token_num, block, blocks);
  }
  return static_cast<uint64_t>(plan.GetValue(kPlanStarts + block));
}

template <typename T>
__aicore__ inline void PrefillCombine(const CombineArguments &arguments) {
  AscendC::TPipe pipe;
  Combine<T> combine;
  combine.Init(arguments, kPlanOrder, &pipe);
  if (combine.Open()) {
    const uint32_t block = static_cast<uint32_t>(AscendC::GetBlockIdx());
    const uint64_t tiles = combine.reduction.TilesPerToken();
    combine.reduction.Reduce(FirstToken(combine.plan, arguments.token_num, block) * tiles,
                             FirstToken(combine.plan, arguments.token_num, block + 1) * tiles);
  }
  combine.Close();
}

struct PrefillCombineOf {
  const CombineArguments &arguments;
  template <typename T>
  __aicore__ inline void Visit() const {
    PrefillCombine<T>(arguments);
  }
};

__aicore__ inline void MoePrefillCombine(const MoePrefillCombineArguments &arguments) {
  if (!VisitDtype(arguments.dtype, PrefillCombineOf{arguments})) RefuseDtype(arguments);
}

}  // namespace moe_comm

#endif  // MOE_COMM_MOE_PREFILL_COMBINE_H
