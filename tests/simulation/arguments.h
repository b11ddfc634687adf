// The arguments of a rank's kernels in one step.
#ifndef MOE_COMM_TESTS_SIMULATION_ARGUMENTS_H
#define MOE_COMM_TESTS_SIMULATION_ARGUMENTS_H

#include <cstdint>
#include <vector>

#include "contract/mask_kind.h"
#include "contract/plan_layout.h"
#include "contract/quant_mode.h"
#include "memory.h"
#include "options.h"
#include "workload.h"

namespace simulation {

// Values that must be the same on all ranks. A fault changes them on one rank.
struct Agreed {
  uint32_t quant_mode;
  uint32_t smooth_kind;
  std::vector<int32_t> map;             // [logical experts, max_replicas], or none
  std::vector<int32_t> replica_counts;  // [logical experts]
  std::vector<uint8_t> rank_mask;       // [R], or none
};

// The rank's tensors, null for None, and its scalars.
struct Arguments {
  uint32_t token_num;
  uint8_t *x, *expert_ids, *mask, *scales, *shared, *residual;
  uint8_t *alpha_1, *alpha_2, *v;
  uint8_t *smooth, *map, *replica_counts, *rank_mask, *kept_plan;
  uint8_t *expand_idx, *expert_token_nums, *plan, *physical_ids, *y;
  uint8_t *combine_ids;
  uint32_t combine_id_bytes;
  uint32_t dtype;
  uint32_t result_dtype;
  uint32_t quant_mode;
  uint32_t smooth_kind;
};

inline Agreed AgreedIn(const Options &options, const Workload &workload, uint32_t rank, uint64_t number) {
  Agreed agreed;
  agreed.quant_mode = options.quant_mode;
  agreed.smooth_kind = SmoothKindOf(options, rank, number);
  for (const std::vector<int32_t> &replicas : options.rules.map) {
    agreed.map.insert(agreed.map.end(), replicas.begin(), replicas.end());
    agreed.replica_counts.push_back(static_cast<int32_t>(replicas.size()));
    agreed.map.resize(agreed.replica_counts.size() * options.max_replicas, -1);
  }
  agreed.rank_mask = workload.steps[number].rank_mask;
  return agreed;
}

// Makes the tensors of one rank.
class Tensors {
 public:
  Tensors(Memory &memory, uint32_t rank) : memory_(memory), rank_(rank) {}

  uint8_t *Output(const char *name, uint64_t bytes) { return memory_.Tensor(rank_, name, bytes, nullptr); }
  template <typename T>
  uint8_t *Input(const char *name, const std::vector<T> &content) {
    return memory_.Tensor(rank_, name, content.size() * sizeof(T), content.data());
  }
  // Null if it has no elements.
  template <typename T>
  uint8_t *Optional(const char *name, const std::vector<T> &content) {
    return content.empty() ? nullptr : Input(name, content);
  }

 private:
  Memory &memory_;
  uint32_t rank_;
};

inline uint8_t *MakeIds(const Options &options, const Tokens &tokens, Tensors &tensors) {
  if (options.id_bytes == sizeof(int64_t)) return tensors.Input("expert_ids", tokens.expert_ids);
  return tensors.Input("expert_ids", std::vector<int32_t>(tokens.expert_ids.begin(), tokens.expert_ids.end()));
}

inline uint8_t *MakeMask(const Options &options, const Tokens &tokens, Tensors &tensors) {
  if (options.mask_kind == moe_comm::kNoMask) return nullptr;
  if (options.mask_kind == moe_comm::kMaskPerExpert) return tensors.Input("x_active_mask", tokens.active);
  std::vector<uint8_t> per_token;
  for (uint64_t pair = 0; pair < tokens.active.size(); pair += options.top_k) per_token.push_back(tokens.active[pair]);
  return tensors.Input("x_active_mask", per_token);
}

// Makes the tensors of one rank's step. `slots`: the rank's own slots. No plan is kept yet.
inline Arguments MakeArguments(const Options &options, const Step &step, const Agreed &agreed, uint32_t rank,
                               uint64_t slots, Memory &memory) {
  const Tokens &tokens = step.tokens[rank];
  const uint64_t columns = options.rules.Columns();
  Tensors tensors(memory, rank);
  Arguments a;
  a.token_num = tokens.token_num;
  a.x = tensors.Input("x", tokens.x);
  a.expert_ids = MakeIds(options, tokens, tensors);
  a.mask = MakeMask(options, tokens, tensors);
  a.scales = tensors.Optional("expert_scales", tokens.scales);
  a.shared = tensors.Optional("shared_expert_x", tokens.shared);
  a.residual = tensors.Optional("residual_x", tokens.residual);
  a.alpha_1 = tensors.Optional("const_expert_alpha_1", step.special.alpha_1);
  a.alpha_2 = tensors.Optional("const_expert_alpha_2", step.special.alpha_2);
  a.v = tensors.Optional("const_expert_v", step.special.v);
  a.expand_idx = tensors.Output("expand_idx", tokens.token_num * columns * sizeof(int32_t));
  a.expert_token_nums = tensors.Output("expert_token_nums", slots * sizeof(int64_t));
  uint64_t plan_words = moe_comm::kPlanHeaderWords;
  if (step.prefill[rank]) plan_words = moe_comm::PlanWords(tokens.token_num, columns);
  a.plan = tensors.Output("plan", plan_words * sizeof(int32_t));
  a.smooth = agreed.smooth_kind == moe_comm::kNoSmooth ? nullptr : tensors.Input("scales", step.smooth);
  a.map = tensors.Optional("logical_to_physical_map", agreed.map);
  a.replica_counts = tensors.Optional("logical_replica_count", agreed.replica_counts);
  a.rank_mask = tensors.Optional("rank_mask", agreed.rank_mask);
  a.kept_plan = nullptr;
  a.physical_ids = tensors.Output("physical_expert_ids", tokens.expert_ids.size() * sizeof(int32_t));
  a.y = tensors.Output("y", tokens.token_num * ResultBytes(options, step));
  a.combine_ids = options.CombinesGivenIds() ? a.expert_ids : a.physical_ids;
  a.dtype = options.dtype;
  a.result_dtype = step.out_dtype;
  a.combine_id_bytes = options.CombinesGivenIds() ? options.id_bytes : sizeof(int32_t);
  a.quant_mode = agreed.quant_mode;
  a.smooth_kind = agreed.smooth_kind;
  return a;
}

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_ARGUMENTS_H
