// A rank does not call the last dispatch; sometimes the last rank does not, either.
#ifndef MOE_COMM_TESTS_SIMULATION_FAULTS_ABSENT_H
#define MOE_COMM_TESTS_SIMULATION_FAULTS_ABSENT_H

#include "families.h"

namespace simulation {

class Absent : public Absence {
 public:
  explicit Absent(bool two = false) : Absence(two) {}
  const char *Description() const override { return "absent from the last dispatch"; }
  bool IsAbsent(const Moment &at) const override { return at.InFaultStep() && IsMissing(at.options, at.rank); }
  bool MustFail(const Moment &at, bool) const override { return at.InFaultStep(); }
};

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_FAULTS_ABSENT_H
