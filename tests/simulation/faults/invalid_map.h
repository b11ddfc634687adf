// An invalid placement map.
#ifndef MOE_COMM_TESTS_SIMULATION_FAULTS_INVALID_MAP_H
#define MOE_COMM_TESTS_SIMULATION_FAULTS_INVALID_MAP_H

#include "families.h"

namespace simulation {

class InvalidMap : public OwnError {
 public:
  InvalidMap() : OwnError(moe_comm::kInvalidMap) {}
  const char *Description() const override { return "a placement map that is not valid"; }
  void Need(Needs &needs) const override { needs.map = true; }
  bool Plant(const Options &options, Workload &, Draw &) override { return options.rules.map.size() > 1; }
  void ChangeAgreed(const Moment &at, Agreed &agreed, Draw &draw) const override {
    if (!at.Here()) return;
    const Options &o = at.options;
    switch (draw.Below(3)) {
      case 0: {
        const int32_t count = draw.OneIn(2) ? 0 : o.max_replicas + 1;
        agreed.replica_counts[draw.Below(agreed.replica_counts.size())] = count;
        return;
      }
      case 1: agreed.map[0] = draw.OneIn(2) ? -1 : static_cast<int32_t>(o.expert_num); return;
      default: agreed.map[0] = agreed.map[o.max_replicas];  // one physical expert for two
    }
  }
  bool MustFail(const Moment &at, bool) const override { return at.InFaultStep(); }
};

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_FAULTS_INVALID_MAP_H
