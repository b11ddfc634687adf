// A rank_mask that differs from the other ranks' mask.
#ifndef MOE_COMM_TESTS_SIMULATION_FAULTS_OTHER_MASK_H
#define MOE_COMM_TESTS_SIMULATION_FAULTS_OTHER_MASK_H

#include <vector>

#include "families.h"

namespace simulation {

// All ranks take part except the next one.
inline std::vector<uint8_t> WithoutNext(const Options &options) {
  std::vector<uint8_t> mask(options.world_size, 1);
  mask[(options.fault_rank + 1) % options.world_size] = 0;
  return mask;
}

class OtherMask : public Disagreement {
 public:
  const char *Description() const override { return "another rank_mask"; }
  bool Plant(const Options &options, Workload &, Draw &) override { return !options.OneExpertRank(); }
  void ChangeAgreed(const Moment &at, Agreed &agreed, Draw &) const override {
    if (at.Here()) agreed.rank_mask = WithoutNext(at.options);
  }
};

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_FAULTS_OTHER_MASK_H
