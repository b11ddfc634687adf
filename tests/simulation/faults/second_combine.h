// A rank combines twice.
#ifndef MOE_COMM_TESTS_SIMULATION_FAULTS_SECOND_COMBINE_H
#define MOE_COMM_TESTS_SIMULATION_FAULTS_SECOND_COMBINE_H

#include "families.h"

namespace simulation {

class SecondCombine : public CombineError {
 public:
  SecondCombine() : CombineError(moe_comm::kNoDispatch) {}
  const char *Description() const override { return "a second combine"; }
  bool CombinesTwice(const Moment &at) const override { return at.Here(); }
  bool MustFail(const Moment &, bool) const override { return false; }  // the first combine is right
};

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_FAULTS_SECOND_COMBINE_H
