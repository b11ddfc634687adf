// A rank quantises while the others do not, or the other way round.
#ifndef MOE_COMM_TESTS_SIMULATION_FAULTS_OTHER_QUANT_MODE_H
#define MOE_COMM_TESTS_SIMULATION_FAULTS_OTHER_QUANT_MODE_H

#include "contract/quant_mode.h"
#include "families.h"

namespace simulation {

class OtherQuantMode : public Disagreement {
 public:
  const char *Description() const override { return "another quant_mode"; }
  void ChangeAgreed(const Moment &at, Agreed &agreed, Draw &) const override {
    if (at.Here()) agreed.quant_mode = moe_comm::kDynamicInt8 - agreed.quant_mode;
  }
};

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_FAULTS_OTHER_QUANT_MODE_H
