// A combine with the plan of other tokens, or of another dispatch.
#ifndef MOE_COMM_TESTS_SIMULATION_FAULTS_OTHER_PLAN_H
#define MOE_COMM_TESTS_SIMULATION_FAULTS_OTHER_PLAN_H

#include <iterator>

#include "contract/plan_layout.h"
#include "families.h"

namespace simulation {

class OtherPlan : public CombineError {
 public:
  OtherPlan() : CombineError(moe_comm::kPlanMismatch) {}
  const char *Description() const override { return "the plan of other tokens"; }
  void BeforeCombine(const Moment &at, const Arguments &arguments, Hands hands) const override {
    using namespace moe_comm;
    static const PlanField fields[] = {kPlanEpochLow, kPlanEpochHigh, kPlanEpochHigh, kPlanTokens};
    if (at.Here()) hands.Overwrite(at.rank, arguments.plan, fields[hands.draw.Below(std::size(fields))], 12345);
  }
};

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_FAULTS_OTHER_PLAN_H
