// A simulated rank's host that resumes after a failure, for host/resume_protocol.h.
#ifndef MOE_COMM_TESTS_SIMULATION_RESUMING_HOST_H
#define MOE_COMM_TESTS_SIMULATION_RESUMING_HOST_H

#include <string>
#include <vector>

#include "host_twin/check/simulator.h"

namespace simulation {

class ResumingHost {
 public:
  ResumingHost(AscendC::backend::Simulator &simulator, uint32_t rank) : simulator_(simulator), rank_(rank) {}

  uint64_t Load(const uint64_t *word) {
    simulator_.Pause(simulator_.Random(2));
    simulator_.Touch(rank_, word, sizeof(*word), false, true);
    return *word;
  }
  void Store(uint64_t *word, uint64_t value) {
    simulator_.Pause(simulator_.Random(2));
    simulator_.Touch(rank_, word, sizeof(*word), true, true);
    *word = value;
  }
  void Reads(const uint8_t *at, uint64_t bytes) { simulator_.Touch(rank_, at, bytes, false); }
  void Writes(const uint8_t *at, uint64_t bytes) { simulator_.Touch(rank_, at, bytes, true); }

  void Await(const std::vector<const uint64_t *> &rounds, const std::vector<bool> &live, uint64_t round) {
    for (size_t rank = 0; rank < live.size(); ++rank) {
      if (!live[rank]) continue;
      const uint64_t *word = rounds[rank];
      simulator_.Await(rank_, [word, round] { return *word >= round; });
      Load(word);
    }
  }
  [[noreturn]] void Disagree(uint64_t rank) {
    simulator_.Fail("wrong result: rank " + std::to_string(rank) + " meets others than rank " + std::to_string(rank_));
  }

 private:
  AscendC::backend::Simulator &simulator_;
  uint32_t rank_;
};

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_RESUMING_HOST_H
