// What a combine returns.
#ifndef MOE_COMM_TESTS_SIMULATION_CHECKERS_RESULTS_H
#define MOE_COMM_TESTS_SIMULATION_CHECKERS_RESULTS_H

#include <cstdint>
#include <vector>

#include "../options.h"
#include "../reference.h"
#include "../workload.h"
#include "witness.h"

namespace simulation {

inline void CheckResults(const Witness &witness, const Options &o, const Step &step, const uint8_t *y) {
  const uint32_t rank = witness.rank;
  const Tokens &tokens = step.tokens[rank];
  for (uint32_t token = 0; token < tokens.token_num; ++token) {
    const std::vector<uint8_t> expected = Combine(tokens, token, step.expected.physical_ids[rank],
                                                  step.expected.expand_idx[rank], step.outputs, o.rules, step.special,
                                                  o.row_bytes, o.dtype, step.out_dtype, rank);
    witness.CompareAll("y", y + token * ResultBytes(o, step), expected);
  }
}

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_CHECKERS_RESULTS_H
