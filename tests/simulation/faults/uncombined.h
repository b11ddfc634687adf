// All ranks keep a plan whose combine has not run.
#ifndef MOE_COMM_TESTS_SIMULATION_FAULTS_UNCOMBINED_H
#define MOE_COMM_TESTS_SIMULATION_FAULTS_UNCOMBINED_H

#include "families.h"

namespace simulation {

class Uncombined : public Fault {
 public:
  const char *Description() const override { return "a kept plan before the combine, on all ranks"; }
  void Need(Needs &needs) const override { needs.kept_plan = true; }
  bool Plant(const Options &options, Workload &workload, Draw &) override {
    workload.steps[options.fault_step - 1].combine = false;
    return true;
  }
  bool MustFail(const Moment &at, bool) const override { return at.InFaultStep(); }
  bool Explains(const Moment &, const int64_t *record) const override {
    return record[moe_comm::kCode] == moe_comm::kKeptPlanBroken || AbortedFor(record, moe_comm::kKeptPlanBroken);
  }
};

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_FAULTS_UNCOMBINED_H
