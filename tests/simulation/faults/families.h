// Which error records faults of a kind explain.
#ifndef MOE_COMM_TESTS_SIMULATION_FAULTS_FAMILIES_H
#define MOE_COMM_TESTS_SIMULATION_FAULTS_FAMILIES_H

#include "fault.h"

namespace simulation {

// Whether the rank has given up since another one had, for `code`, or for one that had given up.
inline bool AbortedFor(const int64_t *record, int64_t code) {
  const int64_t its_code = record[moe_comm::kDetail + 1];
  return record[moe_comm::kCode] == moe_comm::kPeerAborted && (its_code == code || its_code == moe_comm::kPeerAborted);
}

// The faulty rank finds the fault, records `code` and tells the others.
class OwnError : public Fault {
 public:
  explicit OwnError(int64_t code) : code_(code) {}
  bool Explains(const Moment &at, const int64_t *record) const override {
    if (at.OnFaultRank()) return record[moe_comm::kCode] == code_;
    if (record[moe_comm::kCode] != moe_comm::kPeerAborted) return false;
    const int64_t *detail = record + moe_comm::kDetail;
    return detail[1] == (detail[0] == at.options.fault_rank ? code_ : moe_comm::kPeerAborted + int64_t{0});
  }

 private:
  int64_t code_;
};

// An OwnError that a combine of the last step finds.
class CombineError : public OwnError {
 public:
  using OwnError::OwnError;
  bool Plant(const Options &options, Workload &workload, Draw &) override {
    const Step &last = workload.steps[options.fault_step];
    return last.combine && workload.Fits(last);
  }
  bool MustFail(const Moment &at, bool combined) const override { return at.Here() && combined; }
};

// The faulty rank differs from the others: each differs from that one, and that one from all.
class Disagreement : public Fault {
 public:
  bool MustFail(const Moment &at, bool) const override { return at.InFaultStep(); }
  bool Explains(const Moment &at, const int64_t *record) const override {
    if (record[moe_comm::kCode] != moe_comm::kDisagree) return AbortedFor(record, moe_comm::kDisagree);
    const bool names_it = record[moe_comm::kCount] == 1 && record[moe_comm::kDetail] == at.options.fault_rank;
    return at.OnFaultRank() || names_it;
  }
};

// The faulty rank is missed, and another one maybe with it. All others take part, so that nobody else can be.
class Absence : public Fault {
 public:
  bool Ends(const Options &options, uint32_t rank) const override { return IsMissing(options, rank); }
  bool Explains(const Moment &at, const int64_t *record) const override {
    const Options &o = at.options;
    const int64_t *detail = record + moe_comm::kDetail;
    if (at.OnFaultRank()) return false;
    if (record[moe_comm::kCode] == moe_comm::kTimedOut) {
      const bool both = detail[0] + detail[1] == o.fault_rank + o.world_size - 1;  // in either order
      return record[moe_comm::kCount] == 1 + two_ && IsMissing(o, static_cast<uint32_t>(detail[0])) && (!two_ || both);
    }
    if (record[moe_comm::kCode] != moe_comm::kPeerAborted || detail[0] == o.fault_rank) return false;
    return detail[1] == moe_comm::kPeerAborted ||
           (detail[1] == moe_comm::kTimedOut && IsMissing(o, static_cast<uint32_t>(detail[3])));
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
