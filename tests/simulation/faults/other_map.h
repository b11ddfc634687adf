// A valid placement map that differs from the other ranks' map.
#ifndef MOE_COMM_TESTS_SIMULATION_FAULTS_OTHER_MAP_H
#define MOE_COMM_TESTS_SIMULATION_FAULTS_OTHER_MAP_H

#include <utility>

#include "families.h"

namespace simulation {

class OtherMap : public Disagreement {
 public:
  const char *Description() const override { return "another placement map"; }
  void Need(Needs &needs) const override { needs.map = true; }
  bool Plant(const Options &options, Workload &, Draw &) override { return options.rules.map.size() > 1; }
  void ChangeAgreed(const Moment &at, Agreed &agreed, Draw &) const override {
    if (at.Here()) std::swap(agreed.map[0], agreed.map[at.options.max_replicas]);
  }
};

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_FAULTS_OTHER_MAP_H
