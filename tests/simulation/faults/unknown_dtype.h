// A combine with a dtype code that the table of dtypes does not have, for its rows or for its result.
#ifndef MOE_COMM_TESTS_SIMULATION_FAULTS_UNKNOWN_DTYPE_H
#define MOE_COMM_TESTS_SIMULATION_FAULTS_UNKNOWN_DTYPE_H

#include "contract/dtype.h"
#include "families.h"
#include "pairs.h"

namespace simulation {

class UnknownDtypeCode : public CombineError {
 public:
  UnknownDtypeCode() : CombineError(moe_comm::kUnknownDtype) {}
  const char *Description() const override { return "an unknown dtype in combine"; }
  bool Plant(const Options &options, Workload &workload, Draw &draw) override {
    return CombineError::Plant(options, workload, draw) && FirstRoutedPair(options, workload) >= 0;
  }
  void ChangeArguments(const Moment &at, Arguments &arguments, Hands hands) const override {
    if (at.Here()) (hands.draw.OneIn(2) ? arguments.dtype : arguments.result_dtype) = moe_comm::kDtypeCount;
  }
};

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_FAULTS_UNKNOWN_DTYPE_H
