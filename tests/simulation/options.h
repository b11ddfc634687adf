// The options of a run: sizes, rules, features and faults, all drawn from its seed.
//
// The draws are a swarm: only some seeds have a feature, so each feature also runs without the others.
#ifndef MOE_COMM_TESTS_SIMULATION_OPTIONS_H
#define MOE_COMM_TESTS_SIMULATION_OPTIONS_H

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "contract/mask_kind.h"
#include "contract/quant_mode.h"
#include "contract/special_experts.h"
#include "draw.h"
#include "operators/moe_prefill_dispatch/op_host/moe_prefill_dispatch_tiling.h"
#include "past.h"
#include "reference.h"
#include "scenario.h"

namespace simulation {

class Fault;

constexpr uint64_t kNoStep = ~uint64_t{0};
constexpr uint64_t kUnit = 32;  // rows and buffers are multiples of it

struct Options {
  Past past;  // what the windows hold from earlier dispatches

  // sizes
  uint32_t world_size = 0;
  bool many_ranks = false;  // more ranks than a kernel reads at once
  uint32_t cores = 0;
  uint32_t combine_cores = 0;
  uint32_t expert_num = 0;
  uint32_t top_k = 0;
  uint32_t dtype = 0;
  uint64_t row_bytes = 0;
  uint32_t id_bytes = 0;

  // rules
  Rules rules;  // with expert_num and top_k
  int32_t max_replicas = 0;
  moe_comm::SpecialExperts special{};
  uint32_t mask_kind = moe_comm::kNoMask;
  uint32_t quant_mode = moe_comm::kNotQuantised;
  uint32_t smooth_kind = moe_comm::kNoSmooth;
  bool other_smooth = false;  // rank `fault_rank` has no smooth factors in the last step
  bool drops = false;
  bool cumulative = false;
  bool keeps_stats = false;
  bool balanced = false;

  // how the kernels cut rows and the host launches them
  uint32_t decode_buffer_bytes = 0;
  moe_comm::prefill_dispatch::Tiling prefill{};
  uint32_t tile_elements = 0;
  bool asynchronous = false;  // the host looks only after the combine
  bool fuses = false;         // some dispatches run in one launch with the combine before

  // steps
  uint32_t steps = 0;
  bool local = false;  // no rank has rows for another
  uint64_t leave_step = kNoStep;
  std::vector<uint8_t> live;  // of each rank, from step leave_step on; empty: all ranks live

  // what goes wrong, at the latest in step `fault_step`
  std::shared_ptr<Fault> fault;  // nullptr: none
  uint32_t fault_rank = 0;
  uint64_t fault_step = 0;
  uint32_t resumed_steps = 0;  // steps after the fault
  std::vector<bool> resuming;  // of each rank: whether it resumes

  // A fault that was drawn but could not be planted in these options or this workload.
  std::shared_ptr<Fault> unplanted;

  void GiveUpFault() { unplanted = std::move(fault), fault.reset(); }
  uint64_t HiddenSize() const { return row_bytes / ElementBytes(dtype); }
  // Ids from this number on are out of range.
  uint64_t IdNum() const { return rules.LogicalNum() + rules.special_expert_num; }
  // Without map and special experts, a combine may get the ids as given to dispatch.
  bool CombinesGivenIds() const { return rules.map.empty() && rules.special_expert_num == 0; }
  // Only one rank holds experts.
  bool OneExpertRank() const { return world_size - rules.shared_ranks == 1; }
  // The ranks that may have rows in a step; empty: all.
  std::vector<uint8_t> LiveIn(uint64_t step) const;
  // The fault of a step; none after the ranks have resumed.
  const Fault &FaultIn(uint64_t step) const;
};

Options DrawOptions(Draw &draw);
// Options of a given size, without faults and features.
Options OptionsOf(const Size &size);

// One line; `steps` describes the workload.
std::string Describe(const Options &options, uint64_t capacity, const std::string &steps);
// The options that the line leaves out.
std::string DescribeMore(const Options &options);

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_OPTIONS_H
