// A rank keeps its plan while the others exchange.
#ifndef MOE_COMM_TESTS_SIMULATION_FAULTS_KEEPS_ALONE_H
#define MOE_COMM_TESTS_SIMULATION_FAULTS_KEEPS_ALONE_H

#include "families.h"

namespace simulation {

class KeepsAlone : public Disagreement {
 public:
  const char *Description() const override { return "a kept plan, where the others exchange"; }
  void Need(Needs &needs) const override { needs.kept_plan = true; }
  void ChangeArguments(const Moment &at, Arguments &arguments, Hands) const override {
    if (at.InFaultStep() && !at.OnFaultRank()) arguments.kept_plan = nullptr;
  }
  bool MustFail(const Moment &at, bool) const override { return at.InFaultStep() && !at.OnFaultRank(); }
};

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_FAULTS_KEEPS_ALONE_H
