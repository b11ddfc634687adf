// A rank ends anywhere in the last step, in the middle of a kernel.
#ifndef MOE_COMM_TESTS_SIMULATION_FAULTS_KILLED_H
#define MOE_COMM_TESTS_SIMULATION_FAULTS_KILLED_H

#include "families.h"

namespace simulation {

class Killed : public Fault {
 public:
  const char *Description() const override { return "killed in the last step"; }
  void Need(Needs &needs) const override {
    needs.tokens = true;  // so that it is missed
    needs.resume = true;
  }
  bool Ends(const Options &options, uint32_t rank) const override { return rank == options.fault_rank; }
  void BeforeStep(const Moment &at, Hands hands) const override {
    if (!at.Here()) return;
    const uint64_t ranks = at.options.world_size;
    const uint64_t told_all = ranks - 1;  // its counts
    hands.simulator.Doom(at.rank, hands.draw.OneIn(4) ? hands.simulator.Random(3 * ranks + 12) : told_all);
  }
  bool MustFail(const Moment &, bool) const override { return false; }
  // A wait ends because of the killed rank, or of a rank that has given up because of it.
  bool Explains(const Moment &at, const int64_t *record) const override {
    if (moe_comm::As<moe_comm::TimedOut>(record)) return true;
    return record[moe_comm::kBlamedRank] != at.options.fault_rank && AbortedFor(record, moe_comm::kTimedOut);
  }
};

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_FAULTS_KILLED_H
