// A rank begins with a combine.
#ifndef MOE_COMM_TESTS_SIMULATION_FAULTS_COMBINE_FIRST_H
#define MOE_COMM_TESTS_SIMULATION_FAULTS_COMBINE_FIRST_H

#include "families.h"

namespace simulation {

class CombineFirst : public OwnError {
 public:
  CombineFirst() : OwnError(moe_comm::kNoDispatch) {}
  const char *Description() const override { return "combine before dispatch"; }
  bool SkipsDispatch(const Moment &at) const override { return at.OnFaultRank(); }
  bool MustFail(const Moment &, bool) const override { return true; }
};

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_FAULTS_COMBINE_FIRST_H
