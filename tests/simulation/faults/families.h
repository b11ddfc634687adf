// The error records that each family of faults explains.
#ifndef MOE_COMM_TESTS_SIMULATION_FAULTS_FAMILIES_H
#define MOE_COMM_TESTS_SIMULATION_FAULTS_FAMILIES_H

#include "fault.h"

namespace simulation {

// Whether the rank has given up because a peer gave up, either for `code` or for a peer of its own.
inline bool AbortedFor(const int64_t *record, int64_t code) {
  const auto *aborted = moe_comm::As<moe_comm::PeerAborted>(record);
  return aborted && (aborted->its_code == code || aborted->its_code == moe_comm::kPeerAborted);
}

// The faulty rank finds the fault, records `code` and tells the others.
class OwnError : public Fault {
 public:
  explicit OwnError(int64_t code) : code_(code) {}
  bool Explains(const Moment &at, const int64_t *record) const override {
    if (at.OnFaultRank()) return record[moe_comm::kCode] == code_;
    const auto *aborted = moe_comm::As<moe_comm::PeerAborted>(record);
    const int64_t of_others = moe_comm::kPeerAborted;
    return aborted && aborted->its_code == (aborted->peer == at.options.fault_rank ? code_ : of_others);
  }

 private:
  int64_t code_;
};

// An OwnError that the combine of the last step finds.
class CombineError : public OwnError {
 public:
  using OwnError::OwnError;
  bool Plant(const Options &options, Workload &workload, Draw &) override {
    const Step &last = workload.steps[options.fault_step];
    return last.combine && workload.Fits(last);
  }
  bool MustFail(const Moment &at, bool combined) const override { return at.Here() && combined; }
};

// The faulty rank differs from the others: each other rank differs from it alone, and it differs from all.
class Disagreement : public Fault {
 public:
  bool MustFail(const Moment &at, bool) const override { return at.InFaultStep(); }
  bool Explains(const Moment &at, const int64_t *record) const override {
    const auto *error = moe_comm::As<moe_comm::Disagreement>(record);
    if (error == nullptr) return AbortedFor(record, moe_comm::kDisagreement);
    return at.OnFaultRank() || (error->ranks == 1 && error->first_rank == at.options.fault_rank);
  }
};

// The faulty rank is missed, and maybe one more. All other ranks take part, so no other rank can be missed.
class Absence : public Fault {
 public:
  bool Ends(const Options &options, uint32_t rank) const override { return IsMissing(options, rank); }
  bool Explains(const Moment &at, const int64_t *record) const override {
    const Options &o = at.options;
    if (at.OnFaultRank()) return false;
    if (const auto *error = moe_comm::As<moe_comm::TimedOut>(record)) {
      const bool both = error->ranks[0] + error->ranks[1] == o.fault_rank + o.world_size - 1;  // in either order
      return error->missing == 1 + two_ && IsMissing(o, static_cast<uint32_t>(error->ranks[0])) && (!two_ || both);
    }
    const auto *aborted = moe_comm::As<moe_comm::PeerAborted>(record);
    if (aborted == nullptr || aborted->peer == o.fault_rank) return false;
    return aborted->its_code == moe_comm::kPeerAborted ||
           (aborted->its_code == moe_comm::kTimedOut && IsMissing(o, static_cast<uint32_t>(aborted->its_blamed)));
  }

 protected:
  explicit Absence(bool two) : two_(two) {}
  bool IsMissing(const Options &options, uint32_t rank) const {
    return rank == options.fault_rank || (two_ && rank + 1 == options.world_size);
  }

 private:
  bool two_;  // the last rank, too
};

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_FAULTS_FAMILIES_H
