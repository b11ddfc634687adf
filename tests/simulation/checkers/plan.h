// A prefill's plan: every routed pair once, in blocks that move about the same amount.
#ifndef MOE_COMM_TESTS_SIMULATION_CHECKERS_PLAN_H
#define MOE_COMM_TESTS_SIMULATION_CHECKERS_PLAN_H

#include <algorithm>
#include <cstdint>
#include <vector>

#include "../options.h"
#include "../workload.h"
#include "contract/plan_layout.h"
#include "witness.h"

namespace simulation {

// Prefix sums of the tokens' weights. A token weighs its rows that move, plus one for itself.
inline std::vector<uint64_t> TokenWeights(const Expected &expected, uint32_t rank, uint32_t token_num,
                                          uint32_t columns) {
  std::vector<uint64_t> weight(1, 0);
  for (size_t token = 0; token < token_num; ++token) {
    const auto row = expected.expand_idx[rank].begin() + token * columns;
    const auto lost = expected.lost[rank].begin() + token * columns;
    const uint64_t moves = std::count_if(row, row + columns, [](int32_t r) { return r >= 0 || r == -2; }) -
                           std::count(lost, lost + columns, 1);
    weight.push_back(weight.back() + (moves == 0 ? 0 : moves + 1));
  }
  return weight;
}

// False if a block starts before the block before it.
inline bool CheckStarts(const Witness &witness, const int32_t *words, uint32_t cores, uint32_t columns,
                        const std::vector<uint64_t> &weight) {
  witness.Touch(words + moe_comm::kPlanStarts, (cores + 1) * sizeof(int32_t));
  for (uint32_t block = 0; block < cores; ++block) {
    const int32_t begin = words[moe_comm::kPlanStarts + block];
    const int32_t end = words[moe_comm::kPlanStarts + block + 1];
    if (begin > end || end >= static_cast<int32_t>(weight.size())) {
      witness.Fail("the plan's starts go back");
      return false;
    }
    if (weight[end] - weight[begin] > weight.back() / cores + columns + 2) witness.Fail("the plan is not balanced");
  }
  return true;
}

// `least`: how often each pair must occur; 0 if another rank may move its row.
inline void CheckOrder(const Witness &witness, const int32_t *words, const std::vector<int32_t> &expand_idx,
                       int32_t least) {
  std::vector<int32_t> seen(expand_idx.size(), 0);
  witness.Touch(words + moe_comm::kPlanOrder, expand_idx.size() * sizeof(int32_t));
  for (size_t i = 0; i < expand_idx.size(); ++i) {
    const int32_t pair = words[moe_comm::kPlanOrder + i];
    if (pair >= static_cast<int32_t>(expand_idx.size())) return witness.Fail("the plan names a pair that is not");
    if (pair >= 0) ++seen[pair];
  }
  for (size_t i = 0; i < seen.size(); ++i) {
    const bool wrong = expand_idx[i] < 0 ? seen[i] != 0 : seen[i] > 1 || seen[i] < least;
    if (wrong) witness.Fail("the plan misses a pair, or has it twice");
  }
}

inline void CheckPlan(const Witness &witness, const Options &o, const Step &step, const uint8_t *plan) {
  const int32_t *words = reinterpret_cast<const int32_t *>(plan);
  const uint32_t columns = o.rules.Columns();
  const uint32_t token_num = step.tokens[witness.rank].token_num;
  const std::vector<uint64_t> weight = TokenWeights(step.expected, witness.rank, token_num, columns);
  if (!CheckStarts(witness, words, o.cores, columns, weight)) return;
  CheckOrder(witness, words, step.expected.expand_idx[witness.rank], o.balanced ? 0 : 1);
}

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_CHECKERS_PLAN_H
