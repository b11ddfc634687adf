// The rows that each expert of a rank gets.
#ifndef MOE_COMM_TESTS_SIMULATION_CHECKERS_COUNTS_H
#define MOE_COMM_TESTS_SIMULATION_CHECKERS_COUNTS_H

#include <cstdint>
#include <vector>

#include "witness.h"

namespace simulation {

// `expected` may be empty: then all counts must be zero. `slots`: the rank's own slots.
inline void CheckCounts(const Witness &witness, const uint8_t *got, std::vector<int64_t> expected, uint64_t slots,
                        bool cumulative) {
  expected.resize(slots, 0);
  for (size_t i = 1; cumulative && i < expected.size(); ++i) expected[i] += expected[i - 1];
  witness.CompareAll("expert_token_nums", got, expected);
}

// A grouped matmul may be queued behind a failed dispatch: the counts must not exceed the window's rows.
inline void CheckCountsAfterError(const Witness &witness, const uint8_t *got, uint64_t slots, bool cumulative,
                                  uint64_t capacity) {
  const int64_t *counts = reinterpret_cast<const int64_t *>(got);
  witness.Touch(got, slots * sizeof(int64_t));
  int64_t rows = 0;
  for (uint64_t i = 0; i < slots; ++i) {
    if (counts[i] < 0) witness.Fail("a negative count after an error");
    rows = cumulative ? counts[i] : rows + counts[i];
  }
  if (rows > static_cast<int64_t>(capacity)) witness.Fail("counts above the capacity after an error");
}

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_CHECKERS_COUNTS_H
