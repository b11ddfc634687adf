// The plan: an int32 tensor that dispatch makes and its combine follows. In decode it is the header alone, by which a
// combine knows the handle of an earlier dispatch; prefill adds how the work is split.
#ifndef MOE_COMM_CONTRACT_PLAN_LAYOUT_H
#define MOE_COMM_CONTRACT_PLAN_LAYOUT_H

#include "contract/window_schema.h"

namespace moe_comm {

enum PlanField : uint32_t {
  kPlanEpochLow = 0,  // the dispatch that made it
  kPlanEpochHigh,
  kPlanTokens,
  kPlanTopK,
  kPlanBlocks,
  // for a later dispatch that keeps the plan
  kPlanExchangeLow,  // the counts exchange whose tables it needs
  kPlanExchangeHigh,
  kPlanColumns,
  kPlanQuantMode,
  kPlanRouting,  // a hash
  kPlanFields,
  kPlanHeaderWords = 16,
  // [blocks + 1] first token of each block: equal shares of the bytes to move, not of the tokens
  kPlanStarts = kPlanHeaderWords,
  // [T * columns] the (token, column) pairs that this rank moves, in their order; -1 for the others
  kPlanOrder = kPlanStarts + kMaxBlocks + 16
};

// The length of a plan, in decode and in prefill.
__aicore__ inline uint64_t PlanHeaderWords(uint64_t, uint64_t) { return kPlanHeaderWords; }
__aicore__ inline uint64_t PlanWords(uint64_t tokens, uint64_t columns) { return kPlanOrder + tokens * columns; }

}  // namespace moe_comm

#endif  // MOE_COMM_CONTRACT_PLAN_LAYOUT_H
