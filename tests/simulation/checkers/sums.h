// The sums that a window keeps over the steps: dropped, lost, sent and read rows.
#ifndef MOE_COMM_TESTS_SIMULATION_CHECKERS_SUMS_H
#define MOE_COMM_TESTS_SIMULATION_CHECKERS_SUMS_H

#include <algorithm>
#include <cstdint>
#include <vector>

#include "../options.h"
#include "../workload.h"
#include "contract/quant_mode.h"
#include "contract/window_schema.h"
#include "witness.h"

namespace simulation {

// How many rows of the rank lie in the windows of others.
inline uint64_t RowsAway(uint32_t rank, const Expected &expected) {
  uint64_t rows = 0;
  const auto own = [rank](const Row &row) { return row.source == rank; };
  for (uint32_t other = 0; other < expected.rows.size(); ++other) {
    if (other != rank) rows += std::count_if(expected.rows[other].begin(), expected.rows[other].end(), own);
  }
  return rows;
}

inline void CheckDropped(const Witness &witness, const moe_comm::WindowShape &shape, const Workload &workload) {
  std::vector<uint64_t> from(shape.world_size, 0);
  std::vector<uint64_t> to(shape.world_size, 0);
  for (uint64_t step = 0; step <= witness.step; ++step) {
    const Expected &expected = workload.steps[step].expected;
    for (uint32_t other = 0; other < shape.world_size; ++other) {
      from[other] += expected.dropped[other][witness.rank];
      to[other] += expected.dropped[witness.rank][other];
    }
  }
  witness.CompareAll("dropped_from", witness.window + witness.layout.dropped_from.offset, from);
  witness.CompareAll("dropped_to", witness.window + witness.layout.dropped_to.offset, to);
}

inline void CheckSums(const Witness &witness, const Options &o, const Workload &workload) {
  uint64_t lost = 0;
  uint64_t sent = 0;
  for (uint64_t n = 0; n <= witness.step; ++n) {
    const Step &step = workload.steps[n];
    if (!workload.Fits(step)) continue;
    const std::vector<uint8_t> &lost_pairs = step.expected.lost[witness.rank];
    lost += std::count(lost_pairs.begin(), lost_pairs.end(), 1);
    sent += RowsAway(witness.rank, step.expected);
  }
  const uint64_t *header = witness.Header();
  witness.Compare("lost pairs", header[moe_comm::kLostPairs], lost);
  const bool quantised = o.quant_mode != moe_comm::kNotQuantised;
  const uint64_t bytes = quantised ? moe_comm::QuantisedRowBytes(o.HiddenSize()) + sizeof(float) : o.row_bytes;
  witness.Compare("sent rows", header[moe_comm::kSentRows], o.keeps_stats ? sent : 0);
  witness.Compare("sent bytes", header[moe_comm::kSentBytes], o.keeps_stats ? sent * bytes : 0);
}

// Checks what one rank's combines have read and copied.
class CombineSums {
 public:
  void Check(const Witness &witness, const Options &o, const Step &step) {
    read_ += o.keeps_stats ? RowsAway(witness.rank, step.expected) * o.row_bytes : 0;
    if (witness.step <= o.fault_step) witness.Compare("read bytes", witness.Header()[moe_comm::kReadBytes], read_);
    const uint64_t copied = step.in_place ? 0 : step.outputs[witness.rank].size();
    witness.Compare("copied bytes", witness.Header()[moe_comm::kCopiedBytes], copied);
  }

 private:
  uint64_t read_ = 0;  // bytes
};

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_CHECKERS_SUMS_H
