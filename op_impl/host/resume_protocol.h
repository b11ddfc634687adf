// How the hosts of a window resume after a failure: what they tell each other, and what each of them then sets. No
// framework in here: host/resume.cc runs it on windows in memory, and tests/simulation on simulated ranks.
//
// There are two meetings. At the first the ranks agree on epoch and exchange. Then each rank makes its own window
// ready. No rank begins to dispatch before all have come to the second meeting.
#ifndef MOE_COMM_HOST_RESUME_PROTOCOL_H
#define MOE_COMM_HOST_RESUME_PROTOCOL_H

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "contract/errors.h"
#include "contract/window_schema.h"

namespace moe_comm {

// What a rank tells the others when they meet.
struct Meeting {
  uint64_t round;  // written last: who sees it sees the rest
  uint64_t epoch;
  uint64_t exchange;
  uint64_t ranks;  // a hash of the ranks that meet
};

// `Host` reaches the windows' memory:
//   Load(word), Store(word, value)   access a word of a meeting, as acquire and release
//   Reads(at, bytes), Writes(at, bytes)   announce the next accesses to the own window
//   Await(meeting lines, live, round)     returns when the lines of all live ranks have come to `round`, or throws
//   Disagree(rank)                        throws: `rank` meets others than this one
template <typename Host>
class ResumeProtocol {
 public:
  // `live`: [R] the ranks that resume.
  ResumeProtocol(Host &host, uint8_t *base, const WindowShape &shape, uint64_t rank, const std::vector<bool> &live)
      : host_(host), base_(base), shape_(shape), layout_(shape), rank_(rank), live_(live) {}

  void Run() {
    if (Field(kResumeRounds) % 2 == 0) Agree();
    // A rank whose wait fails here may call again, and continues here.
    Meet(Field(kResumeRounds) + 1);
    Clear(layout_.records, shape_.block_dim);  // until now the window was dead
    SetField(kResumeRounds, Field(kResumeRounds) + 1);
  }

 private:
  void Agree() {
    const Meeting own = {Field(kResumeRounds) + 1, Field(kEpoch), Field(kExchange), Hash()};
    Tell(own);
    Meet(own.round);
    uint64_t epoch = 0;
    uint64_t exchange = 0;
    for (uint64_t rank = 0; rank < live_.size(); ++rank) {
      if (!live_[rank]) continue;
      Meeting *told = Line(base_, rank);
      if (host_.Load(&told->ranks) != own.ranks) host_.Disagree(rank);
      epoch = std::max(epoch, host_.Load(&told->epoch));
      exchange = std::max(exchange, host_.Load(&told->exchange));
    }
    // above any number in use: a dispatch that failed has used the next one
    SetField(kEpoch, epoch + 1);
    SetField(kExchange, exchange + 1);
    SetField(kVerdictCode, kNoError);
    Clear(layout_.aborted, shape_.world_size);
    host_.Writes(base_ + layout_.live.offset, live_.size());
    std::copy(live_.begin(), live_.end(), base_ + layout_.live.offset);
    SetField(kLeftRanks, static_cast<uint64_t>(std::count(live_.begin(), live_.end(), false)));
    SetField(kResumeRounds, own.round);
  }

  // The values stay until the next resume: a late rank may still read them.
  void Tell(const Meeting &own) {
    for (uint64_t rank = 0; rank < live_.size(); ++rank) {
      if (!live_[rank]) continue;
      Meeting *line = LineAt(rank);
      host_.Store(&line->epoch, own.epoch);
      host_.Store(&line->exchange, own.exchange);
      host_.Store(&line->ranks, own.ranks);
    }
  }

  // Returns when all ranks have come to `round`.
  void Meet(uint64_t round) {
    for (uint64_t rank = 0; rank < live_.size(); ++rank) {
      if (live_[rank]) host_.Store(&LineAt(rank)->round, round);
    }
    std::vector<const uint64_t *> rounds;
    for (uint64_t rank = 0; rank < live_.size(); ++rank) rounds.push_back(&Line(base_, rank)->round);
    host_.Await(rounds, live_, round);
  }

  uint64_t Hash() const {
    uint64_t hash = 1;
    for (const bool rank : live_) hash = hash * 3 + rank;
    return hash;
  }

  // This rank's line in the window of `peer`.
  Meeting *LineAt(uint64_t peer) {
    const uint8_t *address = base_ + layout_.peers(peer);
    host_.Reads(address, sizeof(uint64_t));
    return Line(reinterpret_cast<uint8_t *>(*reinterpret_cast<const uint64_t *>(address)), rank_);
  }
  Meeting *Line(uint8_t *window, uint64_t rank) const {
    return reinterpret_cast<Meeting *>(window + layout_.meeting(rank));
  }

  uint64_t Field(WindowField field) {
    host_.Reads(base_ + FieldOffset(field), sizeof(uint64_t));
    return reinterpret_cast<const uint64_t *>(base_)[field];
  }
  void SetField(WindowField field, uint64_t value) {
    host_.Writes(base_ + FieldOffset(field), sizeof(uint64_t));
    reinterpret_cast<uint64_t *>(base_)[field] = value;
  }
  void Clear(const PartPlace &part, uint64_t pieces) {
    host_.Writes(base_ + part.offset, pieces * part.pitch);
    std::memset(base_ + part.offset, 0, pieces * part.pitch);
  }

  Host &host_;
  uint8_t *base_;
  const WindowShape &shape_;
  WindowLayout layout_;
  uint64_t rank_;
  const std::vector<bool> &live_;
};

}  // namespace moe_comm

#endif  // MOE_COMM_HOST_RESUME_PROTOCOL_H
