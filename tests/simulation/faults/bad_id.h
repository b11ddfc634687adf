// An expert id that is out of range, in the first step in which the rank has tokens.
#ifndef MOE_COMM_TESTS_SIMULATION_FAULTS_BAD_ID_H
#define MOE_COMM_TESTS_SIMULATION_FAULTS_BAD_ID_H

#include <algorithm>

#include "families.h"

namespace simulation {

class BadId : public OwnError {
 public:
  BadId() : OwnError(moe_comm::kExpertIdRange) {}
  const char *Description() const override { return "an expert id out of range"; }
  bool Plant(const Options &options, Workload &workload, Draw &draw) override {
    for (step_ = 0; step_ <= options.fault_step; ++step_) {
      Tokens &tokens = workload.steps[step_].tokens[options.fault_rank];
      if (tokens.token_num == 0) continue;
      const uint64_t pair = draw.Below(tokens.expert_ids.size());
      tokens.expert_ids[pair] = options.IdNum() + draw.Below(1000);
      if (options.mask_kind == moe_comm::kMaskPerToken) {
        std::fill_n(tokens.active.begin() + pair / options.top_k * options.top_k, options.top_k, 1);
      }
      tokens.active[pair] = 1;
      return true;
    }
    return false;
  }
  bool MustFail(const Moment &at, bool) const override { return at.number == step_; }

 private:
  uint64_t step_ = 0;
};

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_FAULTS_BAD_ID_H
