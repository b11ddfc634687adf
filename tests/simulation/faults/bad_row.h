// An expand_idx that is out of range.
#ifndef MOE_COMM_TESTS_SIMULATION_FAULTS_BAD_ROW_H
#define MOE_COMM_TESTS_SIMULATION_FAULTS_BAD_ROW_H

#include "families.h"
#include "pairs.h"

namespace simulation {

class BadRow : public CombineError {
 public:
  BadRow() : CombineError(moe_comm::kRowIndexRange) {}
  const char *Description() const override { return "an expand_idx out of range"; }
  bool Plant(const Options &options, Workload &workload, Draw &draw) override {
    return CombineError::Plant(options, workload, draw) && FirstRoutedPair(options, workload) >= 0;
  }
  void BeforeCombine(const Moment &at, const Arguments &arguments, Hands hands) const override {
    if (!at.Here()) return;
    const bool special = hands.draw.OneIn(3);
    const int32_t bad = special ? moe_comm::kSpecialExpert
                                : static_cast<int32_t>(at.workload.capacity + hands.draw.Below(1000));
    const int64_t shared = FirstSharedPair(at.options, at.workload);
    const bool of_shared = !special && shared >= 0;
    hands.Overwrite(at.rank, arguments.expand_idx, of_shared ? shared : FirstRoutedPair(at.options, at.workload), bad);
  }
};

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_FAULTS_BAD_ROW_H
