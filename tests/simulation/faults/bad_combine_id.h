// An expert id that is out of range in the combine only.
#ifndef MOE_COMM_TESTS_SIMULATION_FAULTS_BAD_COMBINE_ID_H
#define MOE_COMM_TESTS_SIMULATION_FAULTS_BAD_COMBINE_ID_H

#include "families.h"
#include "pairs.h"

namespace simulation {

class BadCombineId : public CombineError {
 public:
  BadCombineId() : CombineError(moe_comm::kExpertIdRange) {}
  const char *Description() const override { return "an expert id out of range in combine"; }
  bool Plant(const Options &options, Workload &workload, Draw &draw) override {
    return CombineError::Plant(options, workload, draw) && FirstRoutedPair(options, workload) >= 0;
  }
  void BeforeCombine(const Moment &at, const Arguments &arguments, Hands hands) const override {
    if (!at.Here()) return;
    const Options &o = at.options;
    const int64_t pair = FirstRoutedPair(o, at.workload);
    const uint64_t id = pair / o.rules.Columns() * o.top_k + pair % o.rules.Columns();
    const uint64_t words = arguments.combine_id_bytes / sizeof(int32_t);  // the low one comes first
    const uint64_t bad = o.expert_num + moe_comm::Total(o.special) + hands.draw.Below(9);
    hands.Overwrite(at.rank, arguments.combine_ids, id * words, static_cast<int32_t>(bad));
  }
};

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_FAULTS_BAD_COMBINE_ID_H
