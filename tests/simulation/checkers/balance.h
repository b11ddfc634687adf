// Who moves how many rows of a balanced prefill.
#ifndef MOE_COMM_TESTS_SIMULATION_CHECKERS_BALANCE_H
#define MOE_COMM_TESTS_SIMULATION_CHECKERS_BALANCE_H

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "../workload.h"
#include "contract/window_schema.h"
#include "witness.h"

namespace simulation {

// Among ranks in prefill nobody moves more than an equal share of their rows, and the first ranks with room are the
// first to help. Ranks in decode move their own rows.
inline int64_t RowsToMove(const Step &step, const std::vector<uint8_t> &live, uint32_t rank) {
  std::vector<int64_t> load(step.tokens.size(), 0);
  for (const std::vector<Row> &rows : step.expected.rows) {
    for (const Row &row : rows) ++load[row.source];
  }
  std::vector<uint32_t> pool;
  for (uint32_t other = 0; other < load.size(); ++other) {
    if (step.prefill[other] && (live.empty() || live[other])) pool.push_back(other);
  }
  int64_t total = 0;
  for (const uint32_t other : pool) total += load[other];
  const int64_t ranks = static_cast<int64_t>(pool.size());
  const int64_t share = ranks == 0 ? 0 : (total + ranks - 1) / ranks;
  int64_t surplus = 0;
  for (const uint32_t other : pool) surplus += std::max<int64_t>(0, load[other] - share);
  int64_t moves = load[rank];
  for (const uint32_t other : pool) {
    const int64_t helps = std::min(surplus, std::max<int64_t>(0, share - load[other]));
    surplus -= helps;
    if (other == rank) moves = std::min(load[other], share) + helps;
  }
  return moves;
}

inline void CheckBalance(const Witness &witness, const moe_comm::WindowShape &shape, const Step &step,
                         const std::vector<uint8_t> &live) {
  const int32_t *table = reinterpret_cast<const int32_t *>(witness.window + witness.layout.moves.offset);
  witness.Touch(table, shape.world_size * sizeof(int32_t));
  const int64_t got = std::accumulate(table, table + shape.world_size, int64_t{0});
  witness.Compare("rows that it moves", got, RowsToMove(step, live, witness.rank));
}

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_CHECKERS_BALANCE_H
