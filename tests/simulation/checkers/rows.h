// The rows in a rank's window, each at its place.
#ifndef MOE_COMM_TESTS_SIMULATION_CHECKERS_ROWS_H
#define MOE_COMM_TESTS_SIMULATION_CHECKERS_ROWS_H

#include <cstdint>
#include <vector>

#include "../options.h"
#include "../workload.h"
#include "contract/quant_mode.h"
#include "contract/window_schema.h"
#include "witness.h"

namespace simulation {

// Which smooth factors a row gets.
inline uint64_t SmoothRow(const Options &o, const Step &step, const Row &row) {
  if (row.column >= o.top_k) return row.column - o.top_k;
  return o.rules.shared_experts + step.tokens[row.source].expert_ids[row.token * o.top_k + row.column];
}

inline void CheckQuantisedRow(const Witness &witness, const Options &o, const Step &step, size_t number,
                              const uint8_t *x) {
  const Row &row = step.expected.rows[witness.rank][number];
  const uint32_t kind = SmoothKindOf(o, row.source, witness.step);
  const float *smooth = kind == moe_comm::kNoSmooth ? nullptr : step.smooth.data();
  if (kind == moe_comm::kSmoothPerExpert) smooth += SmoothRow(o, step, row) * o.HiddenSize();
  float scale;
  const std::vector<int8_t> q = Quantise(x, o.HiddenSize(), o.dtype, smooth, &scale);
  witness.CompareAll("quantised rows", witness.window + moe_comm::QuantisedRow(witness.layout, o.HiddenSize(), number),
                     q);
  witness.CompareBytes("scales", witness.window + witness.layout.scales(number), &scale, sizeof(scale));
}

inline void CheckRows(const Witness &witness, const Options &o, const Step &step) {
  const std::vector<Row> &rows = step.expected.rows[witness.rank];
  for (size_t number = 0; number < rows.size(); ++number) {
    const uint8_t *x = step.tokens[rows[number].source].x.data() + rows[number].token * o.row_bytes;
    if (o.quant_mode == moe_comm::kNotQuantised) {
      witness.CompareBytes("rows", witness.window + witness.layout.rows(number), x, o.row_bytes);
    } else {
      CheckQuantisedRow(witness, o, step, number, x);
    }
  }
}

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_CHECKERS_ROWS_H
