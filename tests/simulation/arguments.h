// What a rank gives to the kernels of one step.
#ifndef MOE_COMM_TESTS_SIMULATION_ARGUMENTS_H
#define MOE_COMM_TESTS_SIMULATION_ARGUMENTS_H

#include <cstdint>
#include <vector>

#include "memory.h"
#include "options.h"
#include "workload.h"

namespace simulation {

// Values that all ranks must give alike. A fault changes them on one.
struct Agreed {
  uint32_t quant_mode;
  uint32_t smooth_kind;
  std::vector<int32_t> map;             // [logical experts, max_replicas], or none
  std::vector<int32_t> replica_counts;  // [logical experts]
  std::vector<uint8_t> rank_mask;       // [R], or none
};

// Tensors of the rank, null where there is none, and values.
struct Arguments {
  uint32_t token_num;
  uint8_t *x, *expert_ids, *mask, *scales, *shared, *residual;
  uint8_t *alpha_1, *alpha_2, *v;
  uint8_t *smooth, *map, *replica_counts, *rank_mask, *kept_plan;
  uint8_t *expand_idx, *expert_token_nums, *plan, *physical_ids, *y;
  uint8_t *combine_ids;
  uint32_t combine_id_bytes;
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

// Makes the tensors of one rank's step. `slots`: of the rank. No plan is kept yet.
Arguments MakeArguments(const Options &options, const Step &step, const Agreed &agreed, uint32_t rank, uint64_t slots,
                        Memory &memory);

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_ARGUMENTS_H
