// A rank_mask without any rank.
#ifndef MOE_COMM_TESTS_SIMULATION_FAULTS_EMPTY_MASK_H
#define MOE_COMM_TESTS_SIMULATION_FAULTS_EMPTY_MASK_H

#include "families.h"

namespace simulation {

class EmptyMask : public OwnError {
 public:
  EmptyMask() : OwnError(moe_comm::kInvalidRankMask) {}
  const char *Description() const override { return "a rank_mask without any rank"; }
  void ChangeAgreed(const Moment &at, Agreed &agreed, Draw &) const override {
    if (at.Here()) agreed.rank_mask.assign(at.options.world_size, 0);
  }
  bool MustFail(const Moment &at, bool) const override { return at.InFaultStep(); }
};

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_FAULTS_EMPTY_MASK_H
