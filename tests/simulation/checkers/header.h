// The numbers of the last dispatch and of the last exchange in a window's header.
#ifndef MOE_COMM_TESTS_SIMULATION_CHECKERS_HEADER_H
#define MOE_COMM_TESTS_SIMULATION_CHECKERS_HEADER_H

#include "../past.h"
#include "contract/errors.h"
#include "contract/window_schema.h"
#include "witness.h"

namespace simulation {

inline void CheckNumbers(const Witness &witness, const Past &expected, bool placed) {
  const uint64_t *header = witness.Header();
  witness.Compare("epoch", header[moe_comm::kEpoch], expected.epoch);
  witness.Compare("exchange", header[moe_comm::kExchange], expected.exchange);
  witness.Compare("placed", header[moe_comm::kPlacedEpoch] == expected.epoch, placed);
}

// A dispatch that failed before any row could move changes no number and no sum. `expected`: the numbers without the
// failure.
inline void CheckNumbersAfterError(const Witness &witness, const int64_t *record, const Past &expected, bool keeps) {
  const int64_t phase = record[moe_comm::kPhase];
  if (phase != moe_comm::kReadInput && phase != moe_comm::kWaitCounts) return;
  const uint64_t *header = witness.Header();
  witness.Compare("the epoch after an error", header[moe_comm::kEpoch], expected.epoch - 1);
  witness.Compare("the exchange after an error", header[moe_comm::kExchange], expected.exchange - !keeps);
}

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_CHECKERS_HEADER_H
