// A rank ends after the last dispatch. The others may not miss it, since it may have none of their rows.
#ifndef MOE_COMM_TESTS_SIMULATION_FAULTS_ABSENT_COMBINE_H
#define MOE_COMM_TESTS_SIMULATION_FAULTS_ABSENT_COMBINE_H

#include "families.h"

namespace simulation {

class AbsentCombine : public Absence {
 public:
  AbsentCombine() : Absence(false) {}
  const char *Description() const override { return "absent from the last combine"; }
  bool SkipsCombine(const Moment &at) const override { return at.Here(); }
  bool MustFail(const Moment &, bool) const override { return false; }
};

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_FAULTS_ABSENT_COMBINE_H
