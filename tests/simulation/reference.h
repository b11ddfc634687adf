// What dispatch and combine must do, written as plainly as possible and independently of the kernels.
#ifndef MOE_COMM_TESTS_SIMULATION_REFERENCE_H
#define MOE_COMM_TESTS_SIMULATION_REFERENCE_H

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "contract/dtype.h"
#include "contract/replica_policy.h"
#include "contract/special_experts.h"
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

// The rules of routing.
struct Rules {
  uint32_t expert_num = 0;  // physical
  uint32_t top_k = 0;
  std::vector<std::vector<int32_t>> map;  // the replicas of each logical expert; empty: ids are physical
  uint32_t replica_policy = moe_comm::kReplicaSpread;
  uint32_t special_expert_num = 0;
  uint32_t shared_ranks = 0;
  uint32_t shared_experts = 0;
  uint64_t drop_beyond = ~uint64_t{0};  // most rows of a rank
  std::vector<uint8_t> live;            // of each rank; empty: all take part

  uint32_t Columns() const { return top_k + shared_experts; }
  bool Live(uint32_t rank) const { return live.empty() || live[rank] != 0; }
  // The rank of a slot. The slots of shared experts come first, then those of the routed experts.
  uint32_t Owner(uint32_t slot, uint32_t world_size) const {
    if (slot < shared_ranks) return slot;
    return shared_ranks + (slot - shared_ranks) / (expert_num / (world_size - shared_ranks));
  }
  uint32_t LogicalNum() const { return map.empty() ? expert_num : static_cast<uint32_t>(map.size()); }
};

// The special experts of one step and their parameters, equal on all ranks.
struct Special {
  moe_comm::SpecialExperts number{};
  uint32_t alpha_rank = 0;
  std::vector<uint8_t> alpha_1;  // [V] or [V, row bytes]
  std::vector<uint8_t> alpha_2;
  std::vector<uint8_t> v;  // [V, row bytes]
};

struct Row {
  uint32_t source;
  uint32_t token;
  uint32_t column;
};

struct Expected {
  std::vector<std::vector<Row>> rows;              // of each rank's window
  std::vector<std::vector<int32_t>> expand_idx;    // [T, columns] of each rank
  std::vector<std::vector<int32_t>> physical_ids;  // [T, K] of each rank
  std::vector<std::vector<int64_t>> counts;        // of each rank's slots
  std::vector<std::vector<uint64_t>> dropped;      // [source][destination]
  std::vector<std::vector<uint8_t>> lost;          // [T, columns] of each rank: the expert's rank takes no part
  uint64_t most_rows = 0;
};

inline int32_t PhysicalId(const Rules &rules, const Tokens &tokens, uint32_t pair, uint32_t rank, uint32_t world_size) {
  const int64_t id = tokens.expert_ids[pair];
  if (tokens.active[pair] == 0 || id < 0) return -1;
  if (id >= rules.LogicalNum()) return static_cast<int32_t>(rules.expert_num + (id - rules.LogicalNum()));
  if (rules.map.empty()) return static_cast<int32_t>(id);
  const std::vector<int32_t> &replicas = rules.map[id];
  const uint32_t token = pair / rules.top_k;
  const uint32_t count = static_cast<uint32_t>(replicas.size());
  uint32_t chosen = (token + rank) % count;
  if (rules.replica_policy == moe_comm::kReplicaByRank) chosen = rank * count / world_size;
  if (rules.replica_policy == moe_comm::kReplicaByToken) chosen = token % count;
  for (uint32_t i = 0; i < count; ++i) {  // the first live rank from there on
    const int32_t replica = replicas[(chosen + i) % count];
    if (rules.Live(rules.Owner(rules.shared_ranks + replica, world_size))) return replica;
  }
  return replicas[chosen];
}

// What a dispatch of all ranks must come to. Rows are in the order of (slot, source rank, source token and column). Slots:
// the ranks of shared experts, then the experts.
class DispatchReference {
 public:
  DispatchReference(const std::vector<Tokens> &ranks, const Rules &rules)
      : ranks_(ranks), rules_(rules), world_size_(static_cast<uint32_t>(ranks.size())), columns_(rules.Columns()),
        slots_(rules.shared_ranks + rules.expert_num) {}

  Expected Run() {
    out_.rows.resize(world_size_);
    out_.counts.resize(world_size_);
    out_.dropped.assign(world_size_, std::vector<uint64_t>(world_size_, 0));
    kept_.assign(world_size_, std::vector<uint64_t>(slots_, 0));
    for (uint32_t rank = 0; rank < world_size_; ++rank) {
      Route(rank);
      LoseDead(rank);
      for (const int64_t slot : slot_of_[rank]) kept_[rank][slot < 0 ? 0 : slot] += slot >= 0;
    }
    for (uint32_t rank = 0; rank < world_size_; ++rank) Drop(rank);
    for (uint32_t slot = 0; slot < slots_; ++slot) GiveRows(slot);
    return std::move(out_);
  }

 private:
  uint32_t Owner(int64_t slot) const { return rules_.Owner(static_cast<uint32_t>(slot), world_size_); }

  // The slot of each pair of a rank, if all ranks live.
  void Route(uint32_t rank) {
    const Tokens &tokens = ranks_[rank];
    out_.expand_idx.emplace_back(tokens.token_num * columns_, -1);
    out_.physical_ids.emplace_back();
    slot_of_.emplace_back(tokens.token_num * columns_, -1);
    for (uint32_t token = 0; token < tokens.token_num; ++token) {
      bool active = false;
      for (uint32_t k = 0; k < rules_.top_k; ++k) {
        const uint32_t pair = token * rules_.top_k + k;
        const int32_t id = PhysicalId(rules_, tokens, pair, rank, world_size_);
        out_.physical_ids[rank].push_back(id);
        active = active || tokens.active[pair] != 0;
        if (id >= static_cast<int32_t>(rules_.expert_num)) {
          out_.expand_idx[rank][token * columns_ + k] = -3;
        } else if (id >= 0) {
          slot_of_[rank][token * columns_ + k] = rules_.shared_ranks + id;
        }
      }
      for (uint32_t j = 0; active && j < rules_.shared_experts; ++j) {
        const uint32_t instances = rules_.shared_ranks / rules_.shared_experts;
        slot_of_[rank][token * columns_ + rules_.top_k + j] = rank % instances + j * instances;
      }
    }
  }

  // Pairs to and from ranks that take no part have no slot.
  void LoseDead(uint32_t rank) {
    out_.lost.emplace_back(slot_of_[rank].size(), 0);
    for (uint32_t pair = 0; pair < slot_of_[rank].size(); ++pair) {
      int64_t &slot = slot_of_[rank][pair];
      if (slot < 0 || (rules_.Live(rank) && rules_.Live(Owner(slot)))) continue;
      slot = -1;
      out_.lost[rank][pair] = 1;
      out_.expand_idx[rank][pair] = -2;
      const uint32_t k = pair % columns_;
      if (k < rules_.top_k) out_.physical_ids[rank][pair / columns_ * rules_.top_k + k] = -1;
    }
  }

  // What is too much for `rank` goes from the last source down, of a source from its last slot down.
  void Drop(uint32_t rank) {
    uint64_t need = 0;
    for (uint32_t slot = 0; slot < slots_; ++slot) {
      for (uint32_t source = 0; Owner(slot) == rank && source < world_size_; ++source) need += kept_[source][slot];
    }
    out_.most_rows = std::max(out_.most_rows, need);
    uint64_t excess = need > rules_.drop_beyond ? need - rules_.drop_beyond : 0;
    for (uint32_t source = world_size_; source-- > 0;) {
      for (uint32_t slot = slots_; slot-- > 0;) {
        if (Owner(slot) != rank) continue;
        const uint64_t cut = std::min(kept_[source][slot], excess);
        kept_[source][slot] -= cut;
        excess -= cut;
        out_.dropped[source][rank] += cut;
      }
    }
  }

  void GiveRows(uint32_t slot) {
    std::vector<Row> &rows = out_.rows[Owner(slot)];
    const size_t before = rows.size();
    for (uint32_t source = 0; source < world_size_; ++source) {
      uint64_t left = kept_[source][slot];
      for (uint32_t pair = 0; pair < slot_of_[source].size(); ++pair) {
        if (slot_of_[source][pair] != slot) continue;
        if (left == 0) {
          out_.expand_idx[source][pair] = -2;
          continue;
        }
        --left;
        out_.expand_idx[source][pair] = static_cast<int32_t>(rows.size());
        rows.push_back({source, pair / columns_, pair % columns_});
      }
    }
    out_.counts[Owner(slot)].push_back(static_cast<int64_t>(rows.size() - before));
  }

  const std::vector<Tokens> &ranks_;
  const Rules &rules_;
  uint32_t world_size_;
  uint32_t columns_;
  uint32_t slots_;
  Expected out_;
  std::vector<std::vector<int64_t>> slot_of_;  // of each rank: [T * columns], or -1
  std::vector<std::vector<uint64_t>> kept_;    // [source][slot] rows
};

inline Expected Dispatch(const std::vector<Tokens> &ranks, const Rules &rules) {
  return DispatchReference(ranks, rules).Run();
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

// A row as int8, padded with zeros to a multiple of 32, and its scale. `smooth`: [H], or nullptr.
inline std::vector<int8_t> Quantise(const uint8_t *row, uint64_t hidden, uint32_t dtype, const float *smooth,
                                    float *scale) {
  std::vector<float> values(hidden);
  float largest = 0;
  bool finite = true;
  for (uint64_t i = 0; i < hidden; ++i) {
    values[i] = ToFloat(row, i, dtype) * (smooth == nullptr ? 1.0f : smooth[i]);
    finite = finite && std::isfinite(values[i]);
    largest = std::max(largest, std::fabs(values[i]));
  }
  std::vector<int8_t> q((hidden + 31) / 32 * 32, 0);
  *scale = !finite ? std::nanf("") : largest < std::ldexp(1.0f, -119) ? 0.0f : largest / 127.0f;
  if (!finite || *scale == 0) return q;
  for (uint64_t i = 0; i < hidden; ++i) q[i] = static_cast<int8_t>(std::nearbyint(values[i] * (127.0f / largest)));
  return q;
}

// Lane i mod 256 gets product i; then the upper half of the lanes is added to the lower one until 8 are left.
inline float Dot(const uint8_t *a, const uint8_t *b, uint64_t hidden, uint32_t dtype) {
  std::vector<float> lanes(256, 0.0f);
  for (uint64_t i = 0; i < hidden; ++i) {
    const float product = ToFloat(a, i, dtype) * ToFloat(b, i, dtype);
    lanes[i % 256] = lanes[i % 256] + product;
  }
  for (; lanes.size() > 8; lanes.resize(lanes.size() / 2)) {
    for (size_t i = 0; i < lanes.size() / 2; ++i) lanes[i] = lanes[i] + lanes[lanes.size() / 2 + i];
  }
  float sum = lanes[0];
  for (size_t i = 1; i < lanes.size(); ++i) sum = sum + lanes[i];
  return sum;
}

struct Blend {
  float x;
  float v;
};

// The coefficients of constant expert `c` for token `x`.
inline Blend Coefficients(const Special &special, uint32_t c, const uint8_t *x, uint64_t row_bytes, uint32_t dtype) {
  if (special.alpha_rank == 1) {
    return {ToFloat(special.alpha_1.data(), c, dtype), ToFloat(special.alpha_2.data(), c, dtype)};
  }
  const uint64_t hidden = row_bytes / ElementBytes(dtype);
  const float first = Dot(x, special.alpha_1.data() + c * row_bytes, hidden, dtype);
  const float second = Dot(x, special.alpha_2.data() + c * row_bytes, hidden, dtype);
  const float largest = std::max(first, second);
  const float exp_1 = std::exp(first - largest);
  const float exp_2 = std::exp(second - largest);
  return {exp_1 / (exp_1 + exp_2), exp_2 / (exp_1 + exp_2)};
}

// y of one token of `rank`: fp32, in k order, then the shared experts of other ranks, the shared expert and the
// residual, rounded once. `outputs`: of each rank's window.
inline std::vector<uint8_t> Combine(const Tokens &tokens, uint32_t token, const std::vector<int32_t> &physical_ids,
                                    const std::vector<int32_t> &expand_idx,
                                    const std::vector<std::vector<uint8_t>> &outputs, const Rules &rules,
                                    const Special &special, uint64_t row_bytes, uint32_t dtype, uint32_t out_dtype,
                                    uint32_t rank) {
  const uint64_t hidden = row_bytes / ElementBytes(dtype);
  const uint64_t per_rank = rules.expert_num / (outputs.size() - rules.shared_ranks);
  const uint8_t *x = tokens.x.data() + token * row_bytes;
  const int64_t first_copy = rules.expert_num + special.number.zero;
  const int64_t first_constant = first_copy + special.number.copy;
  std::vector<std::vector<float>> terms;  // unweighted, [number, H]
  std::vector<float> weights;
  for (uint32_t column = 0; column < rules.Columns(); ++column) {
    const bool shared = column >= rules.top_k;
    const uint32_t pair = token * rules.top_k + column;
    const int64_t id = shared ? 0 : physical_ids[pair];
    const int32_t place = expand_idx[token * rules.Columns() + column];
    if (place == -1 || place == -2 || (place == -3 && id < first_copy)) continue;
    std::vector<float> term(hidden);
    if (place >= 0) {
      const uint32_t instances = shared ? rules.shared_ranks / rules.shared_experts : 1;
      const uint64_t owner = shared ? rank % instances + (column - rules.top_k) * instances
                                    : rules.shared_ranks + id / per_rank;
      const uint8_t *row = outputs[owner].data() + place * row_bytes;
      for (uint64_t i = 0; i < hidden; ++i) term[i] = ToFloat(row, i, dtype);
    } else if (id < first_constant) {
      for (uint64_t i = 0; i < hidden; ++i) term[i] = ToFloat(x, i, dtype);
    } else {
      const uint32_t c = static_cast<uint32_t>(id - first_constant);
      const Blend blend = Coefficients(special, c, x, row_bytes, dtype);
      for (uint64_t i = 0; i < hidden; ++i) {
        const float of_x = blend.x * ToFloat(x, i, dtype);
        const float of_v = blend.v * ToFloat(special.v.data() + c * row_bytes, i, dtype);
        term[i] = of_x + of_v;
      }
    }
    terms.push_back(term);
    weights.push_back(shared || tokens.scales.empty() ? 1.0f : tokens.scales[pair]);
  }
  std::vector<uint8_t> y(hidden * ElementBytes(out_dtype));
  for (uint64_t i = 0; i < hidden; ++i) {
    float sum = 0;
    for (size_t n = 0; n < terms.size(); ++n) {
      const float product = weights[n] * terms[n][i];
      sum = sum + product;
    }
    if (!tokens.shared.empty()) sum = sum + ToFloat(tokens.shared.data() + token * row_bytes, i, dtype);
    if (!tokens.residual.empty()) sum = sum + ToFloat(tokens.residual.data() + token * row_bytes, i, dtype);
    FromFloat(y.data(), i, out_dtype, sum);
  }
  return y;
}

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_REFERENCE_H
