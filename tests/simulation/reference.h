// What dispatch and combine must do, written as plainly as possible and independently of the kernels.
#ifndef MOE_COMM_TESTS_SIMULATION_REFERENCE_H
#define MOE_COMM_TESTS_SIMULATION_REFERENCE_H

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "common/dtype.h"
#include "host_twin/numerics.h"

namespace simulation {

// The tokens of one rank in one step.
struct Tokens {
  uint32_t token_num = 0;
  std::vector<uint8_t> x;           // [T, row bytes]
  std::vector<int64_t> expert_ids;  // [T, K] as given
  std::vector<uint8_t> active;      // [T, K]
  std::vector<float> scales;        // [T, K], or empty
  std::vector<uint8_t> shared;      // [T, row bytes], or empty
  std::vector<uint8_t> residual;    // [T, row bytes], or empty
};

struct Row {
  uint32_t source;
  uint32_t token;
};

struct Expected {
  std::vector<std::vector<Row>> rows;            // of each rank's window
  std::vector<std::vector<int32_t>> expand_idx;  // [T, K] of each rank
  std::vector<std::vector<int64_t>> counts;      // [E/R] of each rank
  uint64_t most_rows = 0;
};

// Rows in the order of (expert, source rank, source token).
inline Expected Dispatch(const std::vector<Tokens> &ranks, uint32_t expert_num, uint32_t top_k) {
  const uint32_t world_size = static_cast<uint32_t>(ranks.size());
  const uint32_t per_rank = expert_num / world_size;
  Expected out;
  out.rows.resize(world_size);
  out.counts.resize(world_size);
  for (const Tokens &tokens : ranks) out.expand_idx.emplace_back(tokens.token_num * top_k, -1);
  for (uint32_t expert = 0; expert < expert_num; ++expert) {
    std::vector<Row> &rows = out.rows[expert / per_rank];
    const size_t before = rows.size();
    for (uint32_t source = 0; source < world_size; ++source) {
      for (uint32_t pair = 0; pair < ranks[source].token_num * top_k; ++pair) {
        if (ranks[source].active[pair] == 0 || ranks[source].expert_ids[pair] != expert) continue;
        out.expand_idx[source][pair] = static_cast<int32_t>(rows.size());
        rows.push_back({source, pair / top_k});
      }
    }
    out.counts[expert / per_rank].push_back(static_cast<int64_t>(rows.size() - before));
  }
  for (const std::vector<Row> &rows : out.rows) out.most_rows = std::max<uint64_t>(out.most_rows, rows.size());
  return out;
}

inline float ToFloat(const uint8_t *row, uint64_t element, uint32_t dtype) {
  if (dtype == moe_comm::kFloat32) {
    float value;
    std::memcpy(&value, row + element * sizeof(value), sizeof(value));
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, row + element * sizeof(bits), sizeof(bits));
  return dtype == moe_comm::kFloat16 ? numerics::ToFloat(half{bits}) : numerics::ToFloat(bfloat16_t{bits});
}

inline void FromFloat(uint8_t *row, uint64_t element, uint32_t dtype, float value) {
  if (dtype == moe_comm::kFloat32) {
    std::memcpy(row + element * sizeof(value), &value, sizeof(value));
    return;
  }
  const uint16_t bits = dtype == moe_comm::kFloat16 ? numerics::ToHalf(value).bits : numerics::ToBfloat16(value).bits;
  std::memcpy(row + element * sizeof(bits), &bits, sizeof(bits));
}

inline uint64_t ElementBytes(uint32_t dtype) { return dtype == moe_comm::kFloat32 ? 4 : 2; }

// y of one token: fp32, in k order, then the shared expert and the residual, rounded once. `outputs`: of each rank's
// window.
inline std::vector<uint8_t> Combine(const Tokens &tokens, uint32_t token, const std::vector<int32_t> &expand_idx,
                                    const std::vector<std::vector<uint8_t>> &outputs, uint32_t expert_num,
                                    uint32_t top_k, uint64_t row_bytes, uint32_t dtype, uint32_t out_dtype) {
  const uint64_t hidden = row_bytes / ElementBytes(dtype);
  const uint64_t per_rank = expert_num / outputs.size();
  std::vector<uint8_t> y(hidden * ElementBytes(out_dtype));
  for (uint64_t i = 0; i < hidden; ++i) {
    float sum = 0;
    for (uint32_t pair = token * top_k; pair < (token + 1) * top_k; ++pair) {
      if (expand_idx[pair] < 0) continue;
      const uint8_t *row = outputs[tokens.expert_ids[pair] / per_rank].data() + expand_idx[pair] * row_bytes;
      const float term = ToFloat(row, i, dtype) * (tokens.scales.empty() ? 1.0f : tokens.scales[pair]);
      sum = sum + term;
    }
    if (!tokens.shared.empty()) sum = sum + ToFloat(tokens.shared.data() + token * row_bytes, i, dtype);
    if (!tokens.residual.empty()) sum = sum + ToFloat(tokens.residual.data() + token * row_bytes, i, dtype);
    FromFloat(y.data(), i, out_dtype, sum);
  }
  return y;
}

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_REFERENCE_H
