// Prefill combine has many tokens. The blocks share them as dispatch's plan says: by the rows to read, not by tokens.
#ifndef MOE_COMM_MOE_PREFILL_COMBINE_H
#define MOE_COMM_MOE_PREFILL_COMBINE_H

#include "contract/plan_layout.h"
#include "kernel/combine.h"
#include "kernel/visit_dtype.h"

namespace moe_comm {

// The first token of `block` in the plan. Blocks get equal shares if dispatch ran on another number of cores.
template <typename T>
__aicore__ inline uint64_t FirstToken(const Combine<T> &combine, uint32_t token_num, uint32_t block) {
  if (combine.Plan(kPlanBlocks) != static_cast<int32_t>(Blocks())) return Share(token_num, block, Blocks());
  return static_cast<uint64_t>(combine.Plan(kPlanStarts + block));
}

template <typename T>
__aicore__ inline void PrefillCombine(const CombineArguments &arguments) {
  AscendC::TPipe pipe;
  Combine<T> combine;
  combine.Init(arguments, kPlanOrder, &pipe);
  if (combine.Open()) {
    const uint64_t tiles = combine.TilesPerToken();
    combine.Reduce(FirstToken(combine, arguments.token_num, Block()) * tiles,
                   FirstToken(combine, arguments.token_num, Block() + 1) * tiles);
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
