#include "scenario.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "contract/combine_tiling.h"
#include "contract/mask_kind.h"
#include "contract/plan_layout.h"
#include "contract/quant_mode.h"
#include "contract/replica_policy.h"
#include "host/resume_protocol.h"
#include "host_twin/check/simulator.h"
#include "kernel_entries.h"
#include "operators/moe_decode_dispatch/op_host/moe_decode_dispatch_tiling.h"
#include "operators/moe_prefill_dispatch/op_host/moe_prefill_dispatch_tiling.h"
#include "past.h"
#include "reference.h"
#include "resuming_host.h"

namespace simulation {
namespace {

using AscendC::backend::Simulator;
using namespace moe_comm;

constexpr uint64_t kEndlessUs = uint64_t{1} << 33;  // the simulator's clock leaps there when nothing can go on
constexpr uint64_t kNoStep = ~uint64_t{0};
constexpr uint64_t kMaxTokens = 200;                // of a rank, if prefill is balanced
constexpr uint64_t kUnit = 32;                      // of rows and buffers

// What one rank does wrong. All but kBadId and kNoDispatch happen in the last step before the ranks resume, those from
// kBadRow on in its combine.
enum class Fault {
  kNone, kAbsent, kAbsentCombine, kKilled, kBadId, kBadMap, kOtherQuantMode, kOtherMap, kOtherSmooth, kKeepsAlone,
  kNoDispatch, kTwice, kBadRow,
  kBadCombineId, kBadPlan, kBadKept, kUncombined,
  kOtherMask, kBadMask, kCount
};
struct FaultKind {
  const char *description;
  int64_t code;  // of the rank's own record
};
const FaultKind kFaults[] = {
    {"none", kOk},
    {"absent from the last dispatch", kOk},
    {"absent from the last combine", kOk},
    {"killed in the last step", kOk},
    {"an expert id out of range", kExpertIdRange},
    {"a placement map that is not valid", kBadMap},
    {"another quant_mode", kDisagree},
    {"another placement map", kDisagree},
    {"other smooth factors in a balanced window", kDisagree},
    {"a kept plan, where the others exchange", kDisagree},
    {"combine before dispatch", kNoDispatch},
    {"a second combine", kNoDispatch},
    {"an expand_idx out of range", kRowIndexRange},
    {"an expert id out of range in combine", kExpertIdRange},
    {"the plan of other tokens", kPlanMismatch},
    {"a kept plan that does not hold", kKeptPlan},
    {"a kept plan before the combine, on all ranks", kKeptPlan},
    {"another rank_mask", kDisagree},
    {"a rank_mask without any rank", kBadRankMask},
};

struct Configuration {
  uint32_t world_size;
  uint32_t cores;
  uint32_t combine_cores;
  uint32_t expert_num;
  uint32_t top_k;
  Rules rules;        // of expert_num and top_k, with all else
  int32_t max_replicas;
  uint32_t quant_mode;
  uint32_t smooth_kind;
  bool drops;
  uint32_t dtype;
  uint64_t row_bytes;
  uint32_t id_bytes;
  uint32_t mask_kind;
  uint64_t capacity;
  bool cumulative;
  uint32_t decode_buffer_bytes;
  prefill_dispatch::Tiling prefill;
  uint32_t tile_elements;
  SpecialExperts special;
  bool keeps_stats;
  bool balanced;
  std::vector<uint8_t> live;  // of each rank, from step leave_step on; none: all
  uint64_t leave_step = kNoStep;
  Fault fault;
  uint32_t fault_rank;
  bool asynchronous;
  bool fuses;  // some dispatches with the combine before
};

struct Step {
  std::vector<bool> prefill;                  // of each rank, else decode
  bool combine;
  bool in_place;
  std::vector<Tokens> tokens;                 // of each rank
  Expected expected;
  std::vector<std::vector<uint8_t>> outputs;  // of the experts, for each rank's rows
  std::vector<float> smooth;                  // [H] or [experts, H]
  uint32_t out_dtype;                         // of y
  Special special;
  bool keeps = false;                         // the plan of the step before
  std::vector<uint8_t> rank_mask;             // given to the dispatch, or none
};

// Memory that the simulator knows, kept for the whole run.
class Memory {
 public:
  explicit Memory(Simulator &simulator) : simulator_(simulator) {}
  uint8_t *Raw(uint64_t bytes) {
    void *block = std::aligned_alloc(kRegionAlign, RegionSize(bytes + kRegionAlign));
    std::memset(block, 0x5a, bytes);
    blocks_.emplace_back(static_cast<uint8_t *>(block), &std::free);
    return blocks_.back().get();
  }
  // A tensor of its own, with the content at `content`, or none yet.
  uint8_t *Tensor(uint32_t rank, const char *name, uint64_t bytes, const void *content) {
    uint8_t *base = Raw(bytes);
    if (bytes == 0) return base;
    simulator_.Register(rank, name, base, bytes, false);
    if (content != nullptr) {
      std::memcpy(base, content, bytes);
      simulator_.Touch(rank, base, bytes, true);
    }
    return base;
  }

 private:
  Simulator &simulator_;
  std::vector<std::unique_ptr<uint8_t, decltype(&std::free)>> blocks_;
};

class Scenario {
 public:
  Scenario(uint64_t seed, const Watch &watch)
      : seed_(seed), random_(seed * 2654435761u + 1), past_(DrawPast(random_)), watch_(watch) {
    Configure();
    MakeSteps();
  }
  Scenario(const Size &size, Observer &observer) : seed_(1), random_(1), observer_(&observer) {
    Configure(size);
    config_.capacity = 1;
    for (const bool prefill : {false, true}) {
      AddStep({std::vector<bool>(size.ranks, prefill), true, false, {}, {}, {}}, size.tokens);
      config_.capacity = std::max(config_.capacity, steps_.back().expected.most_rows);
    }
    fault_step_ = steps_.size() - 1;
  }

  Result Run() {
    Simulator::Options options;
    options.ranks = config_.world_size;
    options.cores = config_.cores;
    options.seed = seed_;
    options.may_time_out = config_.fault != Fault::kNone;
    options.even = observer_ != nullptr;
    options.goes_on = watch_.goes_on;
    options.traces = !watch_.trace.empty();
    Simulator simulator(options);
    if (observer_ != nullptr) {
      simulator.on_transfer = [this](const AscendC::backend::Transfer &move) { observer_->OnTransfer(move); };
    }
    Memory memory(simulator);
    simulator_ = &simulator;
    memory_ = &memory;
    MakeWindows();
    for (uint32_t rank = 0; rank < config_.world_size; ++rank) {
      simulator.Host(rank, [this, rank] { RunRank(rank); });
    }
    result_.report = simulator.Run();
    if (options.traces && !simulator.WriteTrace(watch_.trace)) result_.report += "\ncannot write " + watch_.trace;
    result_.scheduler_steps = simulator.Steps();
    result_.configuration = Describe();
    return result_;
  }

 private:
  uint64_t Random(uint64_t below) { return random_() % below; }
  bool OneIn(uint64_t times) { return Random(times) == 0; }

  void Configure() {
    Configuration &c = config_;
    c.world_size = 1 + Random(OneIn(3) ? 8 : 4);
    c.cores = 1 + Random(OneIn(3) ? 8 : 3);
    c.combine_cores = OneIn(8) ? 1 + Random(c.cores) : c.cores;
    const bool many_experts = OneIn(20);
    const bool late_tiles = many_experts && OneIn(3);  // a rank is missing where one look does not show all ranks
    if (late_tiles) c.world_size = 5 + Random(4);
    ConfigureSharedRanks();
    c.expert_num = (c.world_size - c.rules.shared_ranks) *
                   (many_experts ? 500 + Random(200) : 1 + Random(OneIn(4) ? 24 : 4));
    c.top_k = 1 + Random(OneIn(4) ? kMaxTopK : 4);
    c.dtype = Random(kDtypeCount);
    c.row_bytes = kUnit * (1 + Random(OneIn(4) ? 40 : 6));
    if (OneIn(64)) c.row_bytes = 28 * 1024 + kUnit * Random(200);
    c.id_bytes = OneIn(2) ? sizeof(int32_t) : sizeof(int64_t);
    if (OneIn(3)) {
      c.special = {static_cast<uint32_t>(Random(3)), static_cast<uint32_t>(Random(3)),
                   static_cast<uint32_t>(Random(3))};
    }
    c.mask_kind = OneIn(2) ? kNoMask + 0u : 1 + Random(2);
    c.cumulative = OneIn(3);
    c.fault = DrawFault();
    two_absent_ = late_tiles;
    if (late_tiles) c.fault = Fault::kAbsent;
    c.fault_rank = Random(late_tiles ? c.world_size - 1 : c.world_size);
    c.asynchronous = OneIn(3);
    if (c.fault != Fault::kNone || c.asynchronous) c.combine_cores = c.cores;
    many_ranks_ = !late_tiles && OneIn(50);
    if (many_ranks_) {  // more than a kernel looks at in one go
      c.world_size = kMaxBlocks + 1 + Random(4);
      if (OneIn(2)) c.fault = Fault::kBadId;
      c.fault_rank = c.world_size - 1;
      c.cores = c.combine_cores = 1;
      c.rules = Rules();
      c.expert_num = c.world_size;
      c.top_k = 1 + Random(4);
      c.row_bytes = kUnit;
    }
    ConfigureRules();
    c.keeps_stats = OneIn(4);
    c.balanced = OneIn(3) || (c.fault == Fault::kOtherSmooth && OneIn(4));
    other_smooth_ = c.fault == Fault::kOtherSmooth;
    if (other_smooth_ && !c.balanced) c.fault = Fault::kNone;  // each rank quantises its own rows
    c.fuses = OneIn(2) && c.fault == Fault::kNone && !other_smooth_ && !c.keeps_stats && c.combine_cores == c.cores;
    c.leave_step = kNoStep;
    // the work split of op_host, or smaller buffers, so that short rows are cut too
    const uint64_t small = kUnit * (1 + Random(c.row_bytes / kUnit));
    c.decode_buffer_bytes = OneIn(2) ? static_cast<uint32_t>(small) : decode_dispatch::RowBufferBytes(c.row_bytes);
    c.decode_buffer_bytes = std::min<uint32_t>(c.decode_buffer_bytes, decode_dispatch::kMaxRowBuffer);
    c.prefill = prefill_dispatch::Split(c.row_bytes, c.rules.Columns());
    if (OneIn(3)) {
      c.prefill = {static_cast<uint32_t>(std::min(small, prefill_dispatch::kMaxRowBuffer)), 0};
    } else if (c.prefill.batch_tokens > 1 && OneIn(2)) {
      c.prefill.batch_tokens = 1 + Random(c.prefill.batch_tokens);
      c.prefill.row_buffer_bytes = static_cast<uint32_t>(c.prefill.batch_tokens * c.row_bytes);
    }
    const uint64_t element = c.dtype == kFloat32 ? sizeof(float) : sizeof(uint16_t);
    const uint64_t hidden = c.row_bytes / element;
    c.tile_elements = OneIn(2) ? TileElements(hidden) : static_cast<uint32_t>(small / element);
    c.tile_elements = std::min(c.tile_elements, TileElements(hidden));
  }

  // Some come more often: they have many ways, or show something only where much else holds.
  Fault DrawFault() {
    static const Fault often[] = {
        Fault::kBadKept, Fault::kBadKept, Fault::kBadKept, Fault::kBadKept, Fault::kBadKept, Fault::kKilled,
        Fault::kKilled,  Fault::kKilled,  Fault::kKilled,  Fault::kKilled,  Fault::kBadPlan, Fault::kBadPlan,
        Fault::kBadMap,  Fault::kBadMap,  Fault::kOtherSmooth, Fault::kKeepsAlone};
    if (config_.world_size < 2 || !OneIn(3)) return Fault::kNone;
    if (config_.rules.shared_experts > 0 && OneIn(5)) return Fault::kBadRow;
    if (!OneIn(3)) return often[Random(std::size(often))];
    return static_cast<Fault>(1 + Random(static_cast<int>(Fault::kCount) - 1));
  }

  void ConfigureSharedRanks() {
    Configuration &c = config_;
    if (c.world_size < 2 || !OneIn(4)) return;
    c.rules.shared_experts = 1 + Random(std::min<uint64_t>(kMaxSharedExperts, c.world_size - 1));
    c.rules.shared_ranks = c.rules.shared_experts * (1 + Random((c.world_size - 1) / c.rules.shared_experts));
  }

  // Placement maps, special experts, quantisation and drops, each in some of the seeds.
  void ConfigureRules() {
    Configuration &c = config_;
    c.rules.expert_num = c.expert_num;
    c.rules.top_k = c.top_k;
    c.drops = OneIn(4);
    c.quant_mode = OneIn(3) ? kDynamicInt8 : kNotQuantised;
    c.smooth_kind = c.quant_mode == kNotQuantised ? kNoSmooth + 0u : Random(3);
    if (c.fault == Fault::kOtherSmooth) c.quant_mode = kDynamicInt8, c.smooth_kind = 1 + Random(2);
    if (c.quant_mode != kNotQuantised && !many_ranks_ && OneIn(6)) c.row_bytes = 8192 + kUnit * (1 + Random(100));
    c.rules.special_expert_num = Total(c.special);
    if (c.fault != Fault::kBadMap && c.fault != Fault::kOtherMap && !OneIn(3)) return;
    std::vector<int32_t> physical(c.expert_num);
    for (uint32_t i = 0; i < c.expert_num; ++i) physical[i] = static_cast<int32_t>(i);
    std::shuffle(physical.begin(), physical.end(), random_);
    const uint32_t logical = 1 + Random(c.expert_num);
    for (uint32_t i = 0; i < logical; ++i) c.rules.map.push_back({physical[i]});
    for (uint32_t i = logical; i < c.expert_num; ++i) {  // the others are replicas, or idle
      if (!OneIn(4)) c.rules.map[Random(logical)].push_back(physical[i]);
    }
    for (const auto &replicas : c.rules.map) {
      c.max_replicas = std::max(c.max_replicas, static_cast<int32_t>(replicas.size() + Random(2)));
    }
    c.rules.replica_policy = Random(3);
  }

  void Configure(const Size &size) {
    Configuration &c = config_;
    c.world_size = size.ranks;
    c.cores = c.combine_cores = size.cores;
    c.expert_num = size.experts;
    c.top_k = size.top_k;
    c.rules.expert_num = size.experts;
    c.rules.top_k = size.top_k;
    c.dtype = kBfloat16;
    c.row_bytes = size.row_bytes;
    c.id_bytes = sizeof(int32_t);
    c.mask_kind = kNoMask;
    c.decode_buffer_bytes = decode_dispatch::RowBufferBytes(c.row_bytes);
    c.prefill = prefill_dispatch::Split(c.row_bytes, c.top_k);
    c.tile_elements = TileElements(c.row_bytes / sizeof(uint16_t));
  }

  // `step` with random rows, `token_num` tokens on each rank.
  void AddStep(Step step, uint32_t token_num) {
    step.out_dtype = config_.dtype;
    for (uint32_t rank = 0; rank < config_.world_size; ++rank) {
      step.tokens.push_back(MakeTokens(token_num, false, true, false));
    }
    step.expected = Dispatch(step.tokens, config_.rules);
    for (const std::vector<Row> &rows : step.expected.rows) step.outputs.push_back(Values(rows.size()));
    steps_.push_back(std::move(step));
  }

  void MakeSteps() {
    Configuration &c = config_;
    const bool of_kept = c.fault == Fault::kBadKept || c.fault == Fault::kUncombined || c.fault == Fault::kKeepsAlone;
    ConfigureLeave();
    const bool plain = !many_ranks_ && c.fault == Fault::kNone && c.rules.map.empty() && c.rules.shared_ranks == 0;
    local_ = c.world_size > 1 && plain && OneIn(3);
    uint32_t number = of_kept ? 2 : many_ranks_ ? 1 : 1 + Random(c.row_bytes > 2048 || c.expert_num > 400 ? 2 : 4);
    if (local_) number = std::max(number, 3u);
    ConfigureResume(number);
    uint64_t most_rows = 1;
    for (uint32_t n = 0; n < number + resumed_steps_; ++n) {
      Step step;
      step.prefill.assign(c.world_size, OneIn(2) || (local_ && n == 0));
      if (OneIn(2) && !(local_ && n == 0)) {  // each rank decides by itself
        const bool only_those_that_leave = n == c.leave_step && OneIn(2);
        for (uint32_t rank = 0; rank < c.world_size; ++rank) {
          step.prefill[rank] = only_those_that_leave ? !c.live[rank] : OneIn(2);
        }
      }
      step.combine = !OneIn(5);
      step.in_place = OneIn(2);
      const uint64_t most_tokens = many_ranks_ ? 2 : c.row_bytes > 2048 ? 3 : c.expert_num > 1024 ? 90 : OneIn(12) ? 150 : 10;
      const bool skewed = OneIn(4);
      const bool scales = !OneIn(4);
      const bool shared = OneIn(3);
      const bool residual = OneIn(3);
      step.out_dtype = OneIn(2) ? c.dtype : static_cast<uint32_t>(Random(kDtypeCount));
      step.special = MakeSpecial();
      step.keeps = n > 0 && n != c.leave_step && n != number && AllPrefill(steps_.back()) && steps_.back().combine &&
                   (of_kept || OneIn(2));
      const bool of_fault = of_kept && n < number;
      if (of_fault || step.keeps) step.prefill.assign(c.world_size, true);
      if (of_fault) step.combine = true;
      for (uint32_t rank = 0; rank < c.world_size; ++rank) {
        const bool has_tokens = !OneIn(5) || (c.fault == Fault::kKilled && rank == c.fault_rank);  // it is missed
        step.tokens.push_back(MakeTokens(has_tokens ? Random(most_tokens + 1) : 0, skewed, scales, shared));
        if (local_) RouteToOwn(rank, &step.tokens.back());
        if (step.keeps) step.tokens.back() = WithOtherRows(steps_.back().tokens[rank]);
        if (n > c.leave_step && !c.live[rank]) step.tokens.back() = Tokens();
        if (n >= number && !resuming_[rank]) step.tokens.back() = Tokens();
        if (residual) step.tokens.back().residual = Values(step.tokens.back().token_num);
      }
      if (c.smooth_kind != kNoSmooth) {
        const uint64_t rows = c.smooth_kind == kSmoothPerColumn ? 1 : c.rules.LogicalNum() + c.rules.shared_experts;
        for (uint64_t i = 0; i < rows * HiddenSize(); ++i) {
          step.smooth.push_back(static_cast<float>(1 + Random(64)) / 32);
        }
      }
      c.rules.live = LiveIn(n);
      if (n == c.leave_step || (n > c.leave_step && OneIn(2))) step.rank_mask = c.live;
      if (n < c.leave_step && OneIn(6)) {
        step.rank_mask = LiveIn(n);
        step.rank_mask.resize(c.world_size, 1);
      }
      step.expected = Dispatch(step.tokens, c.rules);
      most_rows = std::max(most_rows, step.expected.most_rows);
      steps_.push_back(std::move(step));
    }
    // sometimes the fullest step does not fit: all ranks must find so, and go on, or drop the same rows
    config_.capacity = OneIn(c.drops ? 2 : 6) && most_rows > 1 ? most_rows - 1 - (c.drops ? Random(most_rows - 1) : 0)
                                                               : most_rows + (OneIn(2) ? 0 : Random(9));
    if (c.drops) config_.rules.drop_beyond = config_.capacity;
    for (Step &step : steps_) {
      c.rules.live = LiveIn(&step - steps_.data());
      if (c.drops) step.expected = Dispatch(step.tokens, c.rules);
      if (c.drops) step.expected.most_rows = std::min(step.expected.most_rows, config_.capacity);
      for (const std::vector<Row> &rows : step.expected.rows) step.outputs.push_back(Values(rows.size()));
    }
    Step &last = FaultStep();
    for (Step &step : steps_) step.keeps = step.keeps && step.expected.most_rows <= config_.capacity;
    if (of_kept && !last.keeps) config_.fault = Fault::kNone;
    const bool only_expert_rank = c.world_size - c.rules.shared_ranks == 1;
    if (c.fault == Fault::kBadKept && OneIn(4)) RouteOtherwise();
    if (c.fault == Fault::kBadKept && !other_ids_ && !only_expert_rank) other_mask_ = OneIn(4);
    if (c.fault == Fault::kUncombined) steps_[fault_step_ - 1].combine = false;
    // without an exchange a rank does not learn what the others do that it has no rows of
    if (c.fault != Fault::kNone && !of_kept) last.keeps = false;
    const bool combines = last.combine && last.expected.most_rows <= config_.capacity;
    if (c.fault == Fault::kBadId) PlantBadId();
    if (c.fault == Fault::kOtherMask && only_expert_rank) config_.fault = Fault::kNone;
    const bool of_map = c.fault == Fault::kBadMap || c.fault == Fault::kOtherMap;
    if (of_map && c.rules.map.size() < 2) config_.fault = Fault::kNone;
    const bool in_combine = c.fault == Fault::kBadRow || c.fault == Fault::kBadCombineId;
    if (in_combine && !(combines && RoutedPair() >= 0)) config_.fault = Fault::kNone;
    const bool any_combine = c.fault == Fault::kBadPlan || c.fault == Fault::kTwice;
    if (any_combine && !combines) config_.fault = Fault::kNone;
    if (config_.fault == Fault::kNone && resumed_steps_ > 0) ForgetResume();
  }

  // Step `fault_step_` is the last before the ranks resume. Then those that have not ended go on, if one has experts.
  void ConfigureResume(uint32_t steps) {
    const Configuration &c = config_;
    fault_step_ = steps - 1;
    const bool resumes = c.fault == Fault::kKilled || (c.fault != Fault::kNone && !OneIn(3));
    resumed_steps_ = resumes ? 1 + Random(2) : 0;
    uint32_t with_experts = 0;
    for (uint32_t rank = 0; rank < c.world_size; ++rank) {
      resuming_.push_back(!Ends(rank));
      with_experts += resuming_[rank] && rank >= c.rules.shared_ranks;
    }
    if (with_experts == 0) resumed_steps_ = 0;
  }
  // The fault could not be planted.
  void ForgetResume() {
    steps_.resize(fault_step_ + 1);
    resumed_steps_ = 0;
  }
  // Whether the rank ends with the fault.
  bool Ends(uint32_t rank) const {
    if (config_.fault == Fault::kAbsent) return IsAbsent(rank);
    return (config_.fault == Fault::kAbsentCombine || config_.fault == Fault::kKilled) && rank == config_.fault_rank;
  }
  // The ranks that have rows in a step; none: all.
  std::vector<uint8_t> LiveIn(uint64_t step) const {
    if (step >= config_.leave_step) return config_.live;
    return step > fault_step_ ? std::vector<uint8_t>(resuming_.begin(), resuming_.end()) : std::vector<uint8_t>();
  }
  Step &FaultStep() { return steps_[fault_step_]; }
  const Step &FaultStep() const { return steps_[fault_step_]; }

  // Some ranks leave, one that holds experts stays.
  void ConfigureLeave() {
    Configuration &c = config_;
    if (c.fault != Fault::kNone || c.world_size < 2 || !OneIn(5)) return;
    c.leave_step = Random(3);
    const uint64_t stays = c.rules.shared_ranks + Random(c.world_size - c.rules.shared_ranks);
    for (uint64_t rank = 0; rank < c.world_size; ++rank) c.live.push_back(rank == stays || OneIn(2));
  }

  Special MakeSpecial() {
    Special special;
    special.number = config_.special;
    if (special.number.constant == 0) return special;
    special.alpha_rank = 1 + Random(2);
    special.v = Values(special.number.constant);
    special.alpha_1 = Values(special.number.constant);
    special.alpha_2 = Values(special.number.constant);
    if (special.alpha_rank == 1) {
      special.alpha_1.resize(special.number.constant * ElementBytes(config_.dtype));
      special.alpha_2.resize(special.alpha_1.size());
    }
    return special;
  }

  Tokens MakeTokens(uint32_t token_num, bool skewed, bool scales, bool shared) {
    const Configuration &c = config_;
    Tokens tokens;
    tokens.token_num = token_num;
    tokens.x = Values(token_num);
    if (shared) tokens.shared = Values(token_num);
    for (uint32_t pair = 0; pair < token_num * c.top_k; ++pair) {
      const bool first = pair % c.top_k == 0;
      const bool active = c.mask_kind == kNoMask || (c.mask_kind == kMaskPerToken && !first ? tokens.active.back() != 0
                                                                                            : !OneIn(3));
      tokens.active.push_back(active);
      tokens.expert_ids.push_back(OneIn(12) ? -1 - static_cast<int64_t>(Random(3))
                                            : static_cast<int64_t>(Random(skewed ? 1 : IdNum())));
      if (scales) tokens.scales.push_back(static_cast<float>(static_cast<double>(Random(1 << 20)) / (1 << 20)));
    }
    return tokens;
  }

  // To the rank's own experts only: it waits for no rows of others, and they for none of its own.
  void RouteToOwn(uint32_t rank, Tokens *tokens) {
    const uint64_t experts = ExpertsPerRank(Shape());
    for (int64_t &id : tokens->expert_ids) {
      if (id >= 0 && id < static_cast<int64_t>(config_.expert_num)) id = rank * experts + id % experts;
    }
  }

  // The same routing for other rows.
  Tokens WithOtherRows(Tokens tokens) {
    tokens.x = Values(tokens.token_num);
    if (!tokens.shared.empty()) tokens.shared = Values(tokens.token_num);
    return tokens;
  }

  uint64_t Epoch(uint64_t step) const {
    return step > fault_step_ ? resumed_.epoch + step - fault_step_ : past_.epoch + step + 1;
  }
  uint64_t Exchange(uint64_t step) const {
    uint64_t exchange = step > fault_step_ ? resumed_.exchange : past_.exchange;
    for (uint64_t n = step > fault_step_ ? fault_step_ + 1 : 0; n <= step; ++n) exchange += !steps_[n].keeps;
    return exchange;
  }
  uint64_t IdNum() const { return config_.rules.LogicalNum() + config_.rules.special_expert_num; }
  uint64_t HiddenSize() const { return config_.row_bytes / ElementBytes(config_.dtype); }

  // Random finite values of the window's dtype.
  std::vector<uint8_t> Values(uint64_t rows) {
    const uint64_t hidden = config_.row_bytes / (config_.dtype == kFloat32 ? sizeof(float) : sizeof(uint16_t));
    std::vector<uint8_t> values(rows * config_.row_bytes);
    for (uint64_t i = 0; i < rows * hidden; ++i) {
      FromFloat(values.data(), i, config_.dtype, static_cast<float>(static_cast<int64_t>(Random(4096)) - 2048) / 512);
    }
    return values;
  }

  static bool AllPrefill(const Step &step) { return std::count(step.prefill.begin(), step.prefill.end(), false) == 0; }

  int64_t FirstBadId() const { return config_.expert_num + Total(config_.special); }

  void PlantBadId() {
    for (uint64_t n = 0; n <= fault_step_; ++n) {
      Tokens &tokens = steps_[n].tokens[config_.fault_rank];
      if (tokens.token_num == 0) continue;
      const uint64_t pair = Random(tokens.expert_ids.size());
      tokens.expert_ids[pair] = IdNum() + Random(1000);
      if (config_.mask_kind == kMaskPerToken) {
        std::fill_n(tokens.active.begin() + pair / config_.top_k * config_.top_k, config_.top_k, 1);
      }
      tokens.active[pair] = 1;
      return;
    }
    config_.fault = Fault::kNone;
  }

  // One token of a rank that keeps its plan goes another way.
  void RouteOtherwise() {
    Tokens &tokens = FaultStep().tokens[config_.fault_rank];
    std::vector<uint64_t> active;
    for (uint64_t pair = 0; pair < tokens.active.size(); ++pair) {
      if (tokens.active[pair]) active.push_back(pair);
    }
    if (active.empty()) return;
    int64_t &id = tokens.expert_ids[active[Random(active.size())]];
    id = id < 0 ? 0 : -1;
    other_ids_ = true;
  }

  // The place in expand_idx of an expert's pair of the last step's tokens that has a row, or -1.
  int64_t RoutedPair() const {
    const std::vector<int32_t> &expand_idx = FaultStep().expected.expand_idx[config_.fault_rank];
    for (size_t i = 0; i < expand_idx.size(); ++i) {
      if (expand_idx[i] >= 0 && i % config_.rules.Columns() < config_.top_k) return static_cast<int64_t>(i);
    }
    return -1;
  }
  // The place of a shared expert's row, or -1.
  int64_t SharedPair() const {
    const std::vector<int32_t> &expand_idx = FaultStep().expected.expand_idx[config_.fault_rank];
    for (size_t i = 0; i < expand_idx.size(); ++i) {
      if (expand_idx[i] >= 0 && i % config_.rules.Columns() >= config_.top_k) return static_cast<int64_t>(i);
    }
    return -1;
  }
  // Its place in the ids.
  int64_t RoutedId() const {
    const uint32_t columns = config_.rules.Columns();
    return RoutedPair() / columns * config_.top_k + RoutedPair() % columns;
  }

  WindowShape Shape() const {
    const uint64_t tokens = config_.balanced ? kMaxTokens : 0;
    return {config_.world_size, config_.expert_num, config_.cores, config_.capacity, config_.row_bytes,
            config_.rules.shared_ranks, tokens, tokens * config_.rules.Columns()};
  }

  void MakeWindows() {
    const WindowShape shape = Shape();
    std::vector<uint64_t> bases;
    untold_verdict_.assign(config_.world_size, kNoStep);
    last_plan_.assign(config_.world_size, nullptr);
    ahead_.resize(config_.world_size);
    read_bytes_.assign(config_.world_size, 0);
    for (uint32_t rank = 0; rank < config_.world_size; ++rank) {
      windows_.push_back(memory_->Raw(WindowBytes(shape)));
      std::memset(windows_.back(), 0, ControlBytes(shape));
      bases.push_back(reinterpret_cast<uint64_t>(windows_.back()));
    }
    for (uint32_t rank = 0; rank < config_.world_size; ++rank) {
      uint64_t *words = reinterpret_cast<uint64_t *>(windows_[rank]);
      words[kMagic] = kWindowMagic;
      words[kWorldSize] = shape.world_size;
      words[kRankId] = rank;
      words[kExpertNum] = shape.expert_num;
      words[kCapacity] = shape.capacity;
      words[kRowBytes] = shape.row_bytes;
      words[kBlockDim] = shape.block_dim;
      words[kTopK] = config_.top_k;
      words[kSharedRankNum] = config_.rules.shared_ranks;
      words[kSharedExpertNum] = config_.rules.shared_experts;
      words[kDtype] = config_.dtype;
      words[kOverflowDrop] = config_.drops;
      words[kKeepsStats] = config_.keeps_stats;
      words[kPooledTokens] = shape.pooled_tokens;
      words[kPooledPairs] = shape.pooled_pairs;
      words[kTimeoutUs] = kEndlessUs;
      std::memcpy(windows_[rank] + PeersOffset(shape), bases.data(), bases.size() * sizeof(uint64_t));
      WritePast(past_, shape, windows_[rank], random_);
      const auto part = [&](const std::string &name, uint64_t offset, uint64_t bytes, bool content) {
        simulator_->Register(rank, "window." + name, windows_[rank] + offset, bytes, content);
      };
      const auto flags = [&](const std::string &name, uint64_t offset, uint64_t bytes) {
        simulator_->Register(rank, "window." + name, windows_[rank] + offset, bytes, true, true);
      };
      const uint64_t table = SlotNum(shape) * sizeof(int32_t);
      part("header", 0, kFieldCount * sizeof(uint64_t), true);
      part("peers", PeersOffset(shape), config_.world_size * sizeof(uint64_t), true);
      for (uint64_t parity = 0; parity < 2; ++parity) {
        for (uint64_t source = 0; source < config_.world_size; ++source) {
          flags("counts[" + std::to_string(parity) + "][" + std::to_string(source) + "]",
                CountsRowOffset(shape, parity, source), (SlotNum(shape) + 1) * sizeof(uint64_t));
        }
      }
      flags("arrived", ArrivedOffset(shape), config_.world_size * kLineBytes);
      flags("ready", ReadyOffset(shape), config_.world_size * kLineBytes);
      flags("handed", HandedOffset(shape), config_.world_size * kLineBytes);
      if (config_.balanced) {
        const uint64_t ranks = config_.world_size * sizeof(int32_t);
        for (uint32_t d = 0; d < config_.world_size; ++d) {
          part("shares[" + std::to_string(d) + "]", SharesOffset(shape, d), ranks, false);
        }
        part("loads", LoadsOffset(shape), ranks, false);
        part("bringers", BringersOffset(shape), ranks, false);
        part("moves", MovesOffset(shape), ranks, false);
        part("helpers", HelpersOffset(shape), ranks, false);
        part("helped", HelpedOffset(shape), ranks, false);
        part("own_rows", OwnRowsOffset(shape), table, false);
        part("shifts", ShiftsOffset(shape), table, false);
        part("inputs", InputOffset(shape, 0), shape.pooled_tokens * config_.row_bytes, false);
        part("entries", EntryOffset(shape, 0), shape.pooled_pairs * kEntryWords * sizeof(int32_t), false);
      }
      part("live", LiveOffset(shape), config_.world_size, false);
      flags("aborted", AbortedOffset(shape), config_.world_size * kLineBytes);
      flags("meeting", MeetingOffset(shape, 0), config_.world_size * kLineBytes);
      flags("records", RecordsOffset(), config_.cores * kLineBytes);
      for (uint64_t block = 0; block < config_.cores; ++block) {
        const std::string number = "[" + std::to_string(block) + "]";
        part("histogram" + number, HistogramOffset(shape, block), table, false);
        part("next_rows" + number, NextRowsOffset(shape, block), table, false);
        part("note" + number, NoteOffset(shape, block), kLineBytes, false);
        for (uint64_t phase = kWaitCounts; config_.keeps_stats && phase < kWaitCounts + kWaitPhases; ++phase) {
          part("waited" + number + "[" + std::to_string(phase) + "]", WaitedOffset(shape, block, phase),
               config_.world_size * sizeof(uint64_t), true);
        }
      }
      part("first_rows", FirstRowsOffset(shape), table, false);
      part("last_rows", LastRowsOffset(shape), table, false);
      part("received", ReceivedOffset(shape), SlotsOf(shape, rank) * sizeof(int32_t), false);
      part("dropped_from", DroppedFromOffset(shape), config_.world_size * sizeof(uint64_t), true);
      part("dropped_to", DroppedToOffset(shape), config_.world_size * sizeof(uint64_t), true);
      part("last_dropped_from", LastDroppedFromOffset(shape), config_.world_size * sizeof(int32_t), false);
      part("last_dropped_to", LastDroppedToOffset(shape), config_.world_size * sizeof(int32_t), false);
      part("scales", ScalesOffset(shape), config_.capacity * sizeof(float), false);
      part("sources", SourcesOffset(shape), config_.world_size * sizeof(int32_t), false);
      part("destinations", DestinationsOffset(shape), config_.world_size * sizeof(int32_t), false);
      part("rows", RowsOffset(shape), config_.capacity * config_.row_bytes, false);
      part("outputs", OutputsOffset(shape), config_.capacity * config_.row_bytes, false);
    }
    if (observer_ != nullptr) observer_->OnWindows(shape, windows_);
  }

  // --- the host of one rank ---

  void RunRank(uint32_t rank) {
    RunSteps(rank, 0, fault_step_);
    if (resumed_steps_ == 0 || Ends(rank)) return;
    Resume(rank);
    RunSteps(rank, fault_step_ + 1, steps_.size() - 1);
  }

  void RunSteps(uint32_t rank, uint64_t first, uint64_t last) {
    for (uint64_t number = first; number <= last; ++number) {
      const Step &step = steps_[number];
      if (observer_ == nullptr && simulator_->Random(3) == 0) simulator_->Pause(1 + simulator_->Random(2000));
      if (config_.fault == Fault::kAbsent && number == fault_step_ && IsAbsent(rank)) return;
      if (config_.fault == Fault::kKilled && number == fault_step_ && rank == config_.fault_rank) {
        const uint64_t told_all = config_.world_size - 1;  // its counts
        simulator_->Doom(rank, OneIn(4) ? simulator_->Random(3 * config_.world_size + 12) : told_all);
      }
      if (number > config_.leave_step && !config_.live[rank]) return;
      if (!RunStep(rank, number, step)) return;
    }
  }

  // All ranks that have not ended come here, whether they have seen the failure or not.
  void Resume(uint32_t rank) {
    for (uint32_t other = 0; other < config_.world_size; ++other) {
      if (!resuming_[other]) simulator_->AwaitEnd(rank, other);
    }
    ResumingHost host(*simulator_, rank);
    const WindowShape shape = Shape();
    ResumeProtocol<ResumingHost>(host, windows_[rank], shape, rank, resuming_).Run();
    const uint64_t *header = Header(rank);
    if (resumed_.epoch == 0) resumed_ = {header[kEpoch], header[kExchange]};
    Compare(rank, fault_step_, "the epoch to go on from", header[kEpoch], resumed_.epoch);
    Compare(rank, fault_step_, "the exchange to go on from", header[kExchange], resumed_.exchange);
    untold_verdict_[rank] = kNoStep;
  }

  void Launch(uint32_t rank, Kernel kernel, uint32_t cores, std::function<void()> body) {
    ++result_.kernels[kernel];
    ++result_.rank_steps;
    simulator_->Launch(rank, cores, std::move(body));
    if (observer_ != nullptr) observer_->OnEnd(*simulator_, rank, kernel);
  }

  // Sometimes the last rank is absent, too.
  bool IsAbsent(uint32_t rank) const {
    return rank == config_.fault_rank || (two_absent_ && rank + 1 == config_.world_size);
  }

  // False if nothing more can be done on this rank's window.
  bool RunStep(uint32_t rank, uint64_t number, const Step &step) {
    const bool launched = ahead_[rank] != nullptr;
    const Arguments arguments = launched ? *ahead_[rank] : PrepareDispatch(rank, number);
    ahead_[rank].reset();
    const bool faulty = rank == config_.fault_rank;
    const bool last = number == fault_step_;
    if (config_.fault == Fault::kNoDispatch && faulty && number <= fault_step_) return RunCombine(rank, number, step, arguments);
    if (!launched) {
      Launch(rank, DispatchOf(rank, step), config_.cores, [&] { CallDispatch(rank, step, arguments); });
    }

    const uint64_t *header = Header(rank);
    // As on an NPU, where the host looks after the combine only: it launches that all the same.
    const bool overflow = step.expected.most_rows > config_.capacity;
    const bool absent = config_.fault == Fault::kAbsentCombine && faulty && last;
    const bool launch_anyway = config_.asynchronous && step.combine && !absent;
    if (launch_anyway && (overflow || Record(rank) != nullptr)) {
      LaunchCombine(rank, step, arguments, Experts(rank, step, false));
    }
    if (!CheckError(rank, number, false)) {
      CheckCountsAfterError(rank, number, arguments.expert_token_nums);
      CheckHeaderAfterError(rank, number);
      return false;
    }
    Compare(rank, number, "epoch", header[kEpoch], Epoch(number));
    Compare(rank, number, "exchange", header[kExchange], Exchange(number));
    Compare(rank, number, "placed", header[kPlacedEpoch] == Epoch(number), !overflow);
    CheckVerdict(rank, number, overflow);
    if (overflow) {
      Compare(rank, number, "received rows", header[kReceivedRows], 0);
      CheckCounts(rank, number, arguments.expert_token_nums, {});
      return true;
    }
    const std::vector<Row> &rows = step.expected.rows[rank];
    Compare(rank, number, "received rows", header[kReceivedRows], rows.size());
    CheckCounts(rank, number, arguments.expert_token_nums, step.expected.counts[rank]);
    CheckBytes(rank, number, "expand_idx", arguments.expand_idx, step.expected.expand_idx[rank].data(),
               step.expected.expand_idx[rank].size() * sizeof(int32_t));
    CheckBytes(rank, number, "physical_expert_ids", arguments.physical_ids, step.expected.physical_ids[rank].data(),
               step.expected.physical_ids[rank].size() * sizeof(int32_t));
    CheckRows(rank, number, step);
    if (config_.drops && number <= fault_step_) CheckDropped(rank, number);
    if (number <= fault_step_) CheckSums(rank, number);
    if (step.prefill[rank]) CheckPlan(rank, number, step, arguments.plan);
    if (config_.balanced) CheckBalance(rank, number, step);

    if (!step.combine) return true;
    if (config_.fault == Fault::kAbsentCombine && last && faulty) return false;
    if (config_.fault == Fault::kTwice && last && faulty) {
      if (!RunCombine(rank, number, step, arguments)) Fail(rank, number, "the first combine has failed");
      LaunchCombine(rank, step, arguments, Experts(rank, step, false));
      if (CheckError(rank, number, true)) Fail(rank, number, "a second combine is no error");
      return false;
    }
    if (config_.fault == Fault::kBadRow && last && faulty) {
      const int32_t bad = OneIn(3) ? kSpecialExpert : static_cast<int32_t>(config_.capacity + Random(1000));
      const int64_t shared = SharedPair();
      Overwrite(rank, arguments.expand_idx, bad >= 0 && shared >= 0 ? shared : RoutedPair(), bad);
    }
    if (config_.fault == Fault::kBadCombineId && last && faulty) {
      const uint64_t words = CombineIdBytes() / sizeof(int32_t);  // the low one comes first
      Overwrite(rank, CombineIds(arguments), RoutedId() * words, static_cast<int32_t>(FirstBadId() + Random(9)));
    }
    if (config_.fault == Fault::kBadPlan && last && faulty) {
      static const PlanField fields[] = {kPlanEpochLow, kPlanEpochHigh, kPlanEpochHigh, kPlanTokens};
      Overwrite(rank, arguments.plan, fields[Random(std::size(fields))], 12345);
    }
    return RunCombine(rank, number, step, arguments);
  }

  static Kernel DispatchOf(uint32_t rank, const Step &step) {
    return step.prefill[rank] ? kPrefillDispatch : kDecodeDispatch;
  }

  // The dispatch of the next step may go right behind this combine, in one launch: no host and no end of a kernel holds
  // up a core until the others are there. Not with statistics, to which a combine adds up to its end.
  bool FusesNext(uint32_t rank, uint64_t number) {
    const bool goes_on = number + 1 < steps_.size() && (number < config_.leave_step || config_.live[rank]);
    return config_.fuses && goes_on && simulator_->Random(2) == 0;
  }

  void Overwrite(uint32_t rank, uint8_t *tensor, uint64_t word, int32_t value) {
    std::memcpy(tensor + word * sizeof(value), &value, sizeof(value));
    simulator_->Touch(rank, tensor + word * sizeof(value), sizeof(value), true);
  }

  struct Arguments {
    uint8_t *x, *expert_ids, *mask, *scales, *shared, *residual, *expand_idx, *expert_token_nums, *plan;
    uint8_t *physical_ids, *kept_plan, *smooth, *map, *replica_counts, *rank_mask, *alpha_1, *alpha_2, *v, *y;
  };

  Arguments PrepareDispatch(uint32_t rank, uint64_t number) {
    const Step &step = steps_[number];
    Arguments arguments = MakeArguments(rank, step);
    const bool last = number == fault_step_;
    const bool keeps_alone = config_.fault == Fault::kKeepsAlone && last;
    if (step.keeps && !(keeps_alone && rank != config_.fault_rank)) arguments.kept_plan = last_plan_[rank];
    if (config_.fault == Fault::kBadKept && last && rank == config_.fault_rank && !other_ids_ && !other_mask_) {
      static const PlanField fields[] = {kPlanExchangeLow, kPlanExchangeHigh, kPlanExchangeHigh, kPlanTokens,
                                         kPlanColumns, kPlanQuantMode, kPlanRouting};
      Overwrite(rank, arguments.kept_plan, fields[Random(std::size(fields))], 12345);
    }
    last_plan_[rank] = arguments.plan;
    return arguments;
  }

  Arguments MakeArguments(uint32_t rank, const Step &step) {
    const Tokens &tokens = step.tokens[rank];
    const uint64_t pairs = tokens.expert_ids.size();
    const std::vector<int64_t> &ids = tokens.expert_ids;
    const std::vector<int32_t> narrow(ids.begin(), ids.end());
    std::vector<uint8_t> per_token;
    for (uint64_t pair = 0; pair < pairs; pair += config_.top_k) per_token.push_back(tokens.active[pair]);
    const auto tensor = [&](const char *name, uint64_t bytes, const void *content) {
      return memory_->Tensor(rank, name, bytes, content);
    };
    Arguments a;
    a.x = tensor("x", tokens.x.size(), tokens.x.data());
    a.expert_ids = config_.id_bytes == sizeof(int64_t)
                       ? tensor("expert_ids", pairs * sizeof(int64_t), ids.data())
                       : tensor("expert_ids", pairs * sizeof(int32_t), narrow.data());
    a.mask = config_.mask_kind == kNoMask          ? nullptr
             : config_.mask_kind == kMaskPerToken ? tensor("x_active_mask", per_token.size(), per_token.data())
                                                   : tensor("x_active_mask", pairs, tokens.active.data());
    a.scales = tokens.scales.empty() ? nullptr
                                     : tensor("expert_scales", pairs * sizeof(float), tokens.scales.data());
    a.shared = tokens.shared.empty() ? nullptr : tensor("shared_expert_x", tokens.shared.size(), tokens.shared.data());
    a.residual = tokens.residual.empty() ? nullptr
                                         : tensor("residual_x", tokens.residual.size(), tokens.residual.data());
    const auto parameter = [&](const char *name, const std::vector<uint8_t> &content) {
      return content.empty() ? nullptr : tensor(name, content.size(), content.data());
    };
    a.alpha_1 = parameter("const_expert_alpha_1", step.special.alpha_1);
    a.alpha_2 = parameter("const_expert_alpha_2", step.special.alpha_2);
    a.v = parameter("const_expert_v", step.special.v);
    a.expand_idx = tensor("expand_idx", tokens.token_num * config_.rules.Columns() * sizeof(int32_t), nullptr);
    a.expert_token_nums =
        tensor("expert_token_nums", SlotsOf(Shape(), rank) * sizeof(int64_t), nullptr);
    const uint64_t plan_words =
        step.prefill[rank] ? PlanWords(tokens.token_num, config_.rules.Columns()) : uint64_t{kPlanHeaderWords};
    a.plan = tensor("plan", plan_words * sizeof(int32_t), nullptr);
    a.smooth = SmoothKind(rank, step) == kNoSmooth
                   ? nullptr
                   : tensor("scales", step.smooth.size() * sizeof(float), step.smooth.data());
    std::vector<int32_t> map;
    std::vector<int32_t> replica_counts;
    for (const std::vector<int32_t> &replicas : config_.rules.map) {
      map.insert(map.end(), replicas.begin(), replicas.end());
      replica_counts.push_back(static_cast<int32_t>(replicas.size()));
      map.resize(replica_counts.size() * config_.max_replicas, -1);
    }
    if (rank == config_.fault_rank && &step == &FaultStep()) PlantBadMap(&map, &replica_counts);
    a.map = map.empty() ? nullptr : tensor("logical_to_physical_map", map.size() * sizeof(int32_t), map.data());
    a.replica_counts = map.empty() ? nullptr
                                   : tensor("logical_replica_count", replica_counts.size() * sizeof(int32_t),
                                            replica_counts.data());
    a.kept_plan = nullptr;
    std::vector<uint8_t> mask = step.rank_mask;
    if (rank == config_.fault_rank && &step == &FaultStep()) PlantBadMask(rank, &mask);
    a.rank_mask = mask.empty() ? nullptr : tensor("rank_mask", mask.size(), mask.data());
    a.physical_ids = tensor("physical_expert_ids", pairs * sizeof(int32_t), nullptr);
    a.y = tensor("y", tokens.token_num * ResultBytes(step), nullptr);
    return a;
  }

  // A kernel on one block, as the simulator runs it.
  template <typename KernelArguments>
  static void Call(const KernelArguments &arguments) {
    Apply(EntryOf(arguments), arguments);
  }

  void CallDispatch(uint32_t rank, const Step &step, const Arguments &a) {
    const bool prefill = step.prefill[rank];
    const DispatchArguments shared = DispatchWith(
        named::X(a.x), named::ExpertIds(a.expert_ids), named::XActiveMask(a.mask), named::Scales(a.smooth), named::LogicalToPhysicalMap(a.map),
        named::LogicalReplicaCount(a.replica_counts), named::RankMask(a.rank_mask), named::Window(windows_[rank]), named::ExpandIdx(a.expand_idx),
        named::ExpertTokenNums(a.expert_token_nums), named::Plan(a.plan), named::PhysicalExpertIds(a.physical_ids),
        named::TokenNum(step.tokens[rank].token_num), named::TopK(config_.top_k), named::IdBytes(config_.id_bytes),
        named::MaskKind(config_.mask_kind), named::QuantMode(QuantMode(rank, step)), named::SmoothKind(SmoothKind(rank, step)),
        named::LogicalExpertNum(static_cast<uint32_t>(config_.rules.map.size())), named::MaxReplicas(config_.max_replicas),
        named::ReplicaPolicy(config_.rules.replica_policy), named::SpecialExpertNum(config_.rules.special_expert_num),
        named::ExpertTokenNumsType(!config_.cumulative),
        named::RowBufferBytes(prefill ? config_.prefill.row_buffer_bytes : config_.decode_buffer_bytes));
    if (prefill) {
      Call(MoePrefillDispatchWith(shared, named::KeptPlan(a.kept_plan), named::BatchTokens(config_.prefill.batch_tokens)));
    } else {
      Call(MoeDecodeDispatchWith(shared));
    }
  }

  void PlantBadMask(uint32_t rank, std::vector<uint8_t> *mask) const {
    if (config_.fault != Fault::kOtherMask && config_.fault != Fault::kBadMask && !other_mask_) return;
    mask->assign(config_.world_size, config_.fault != Fault::kBadMask);
    if (config_.fault != Fault::kBadMask) (*mask)[(rank + 1) % config_.world_size] = 0;
  }

  void PlantBadMap(std::vector<int32_t> *map, std::vector<int32_t> *replica_counts) {
    std::vector<int32_t> &first = *map;
    if (config_.fault == Fault::kOtherMap) std::swap(first[0], first[config_.max_replicas]);
    if (config_.fault != Fault::kBadMap) return;
    switch (Random(3)) {
      case 0: (*replica_counts)[Random(replica_counts->size())] = Random(2) == 0 ? 0 : config_.max_replicas + 1; return;
      case 1: first[0] = Random(2) == 0 ? -1 : static_cast<int32_t>(config_.expert_num); return;
      default: first[0] = first[config_.max_replicas];  // one physical expert for two
    }
  }

  // Of the rank that has another.
  uint32_t QuantMode(uint32_t rank, const Step &step) const {
    const bool other = config_.fault == Fault::kOtherQuantMode && rank == config_.fault_rank && &step == &FaultStep();
    return other ? kDynamicInt8 - config_.quant_mode : config_.quant_mode;
  }

  uint32_t SmoothKind(uint32_t rank, const Step &step) const {
    const bool other = other_smooth_ && rank == config_.fault_rank && &step == &FaultStep();
    return other ? kNoSmooth + 0u : config_.smooth_kind;
  }

  // Without map and special experts, the ids as given will do.
  bool CombinesGivenIds() const { return config_.rules.map.empty() && config_.rules.special_expert_num == 0; }
  uint8_t *CombineIds(const Arguments &a) const { return CombinesGivenIds() ? a.expert_ids : a.physical_ids; }
  uint32_t CombineIdBytes() const { return CombinesGivenIds() ? config_.id_bytes : sizeof(int32_t); }

  bool RunCombine(uint32_t rank, uint64_t number, const Step &step, const Arguments &a) {
    uint8_t *expand_x = Experts(rank, step, config_.fault != Fault::kNoDispatch || number > fault_step_);
    if (FusesNext(rank, number)) ahead_[rank] = std::make_unique<Arguments>(PrepareDispatch(rank, number + 1));
    LaunchCombine(rank, step, a, expand_x, ahead_[rank] ? &steps_[number + 1] : nullptr);
    if (!CheckError(rank, number, true)) return false;
    const Tokens &tokens = step.tokens[rank];
    read_bytes_[rank] += config_.keeps_stats ? RowsAway(rank, step.expected) * config_.row_bytes : 0;
    if (number <= fault_step_) Compare(rank, number, "read bytes", Header(rank)[kReadBytes], read_bytes_[rank]);
    Compare(rank, number, "copied bytes", Header(rank)[kCopiedBytes], step.in_place ? 0 : step.outputs[rank].size());
    for (uint32_t token = 0; token < tokens.token_num; ++token) {
      const std::vector<uint8_t> y =
          Combine(tokens, token, step.expected.physical_ids[rank], step.expected.expand_idx[rank], step.outputs,
                  config_.rules, step.special, config_.row_bytes, config_.dtype, step.out_dtype, rank);
      CheckBytes(rank, number, "y", a.y + token * ResultBytes(step), y.data(), ResultBytes(step));
    }
    return true;
  }

  // Bytes of a row of y.
  uint64_t ResultBytes(const Step &step) const {
    return config_.row_bytes / ElementBytes(config_.dtype) * ElementBytes(step.out_dtype);
  }

  // The experts' outputs of a rank, in its window or elsewhere.
  uint8_t *Experts(uint32_t rank, const Step &step, bool content) {
    const std::vector<uint8_t> &outputs = step.outputs[rank];
    if (!step.in_place) {
      return memory_->Tensor(rank, "expert outputs", outputs.size(), content ? outputs.data() : nullptr);
    }
    uint8_t *expand_x = windows_[rank] + OutputsOffset(Shape());
    if (content && !outputs.empty()) {
      std::memcpy(expand_x, outputs.data(), outputs.size());
      simulator_->Touch(rank, expand_x, outputs.size(), true);
    }
    return expand_x;
  }

  void LaunchCombine(uint32_t rank, const Step &step, const Arguments &a, uint8_t *expand_x,
                     const Step *next = nullptr) {
    const Tokens &tokens = step.tokens[rank];
    const SpecialExperts special = step.special.number;
    uint8_t *ori_x = special.copy + special.constant > 0 ? a.x : nullptr;
    Launch(rank, step.prefill[rank] ? kPrefillCombine : kDecodeCombine, config_.combine_cores, [&, this] {
      const CombineArguments shared = CombineWith(
          named::ExpandX(expand_x), named::ExpertIds(CombineIds(a)), named::ExpertScales(a.scales), named::ExpandIdx(a.expand_idx), named::Plan(a.plan),
          named::SharedExpertX(a.shared), named::ResidualX(a.residual), named::OriX(ori_x), named::ConstExpertAlpha1(a.alpha_1),
          named::ConstExpertAlpha2(a.alpha_2), named::ConstExpertV(a.v), named::Window(windows_[rank]), named::Y(a.y), named::TokenNum(tokens.token_num),
          named::TopK(config_.top_k), named::IdBytes(CombineIdBytes()), named::Dtype(config_.dtype), named::ResultDtype(step.out_dtype),
          named::TileElements(config_.tile_elements), named::ZeroExpertNum(special.zero), named::CopyExpertNum(special.copy),
          named::ConstExpertNum(special.constant), named::AlphaRank(step.special.alpha_rank));
      if (step.prefill[rank]) {
        Call(MoePrefillCombineWith(shared));
      } else {
        Call(MoeDecodeCombineWith(shared));
      }
      if (next != nullptr) CallDispatch(rank, *next, *ahead_[rank]);
    });
    if (next == nullptr) return;
    ++result_.kernels[DispatchOf(rank, *next)];
    ++result_.rank_steps;
  }

  // --- checks ---

  void Fail(uint32_t rank, uint64_t step, const std::string &what) {
    simulator_->Report("wrong result: rank " + std::to_string(rank) + ", step " + std::to_string(step) + ": " + what);
  }
  void Compare(uint32_t rank, uint64_t step, const char *what, uint64_t got, uint64_t expected) {
    if (got == expected) return;
    Fail(rank, step, std::string(what) + " is " + std::to_string(got) + ", expected " + std::to_string(expected));
  }
  void CheckBytes(uint32_t rank, uint64_t step, const char *what, const void *got, const void *expected,
                  uint64_t bytes) {
    simulator_->Touch(rank, got, bytes, false);
    if (std::memcmp(got, expected, bytes) != 0) Fail(rank, step, std::string(what) + " differ from the reference");
  }

  const uint64_t *Header(uint32_t rank) {
    simulator_->Touch(rank, windows_[rank], kFieldCount * sizeof(uint64_t), false);
    return reinterpret_cast<const uint64_t *>(windows_[rank]);
  }

  // The record of the first block that has failed, or nothing.
  const int64_t *Record(uint32_t rank) {
    for (uint32_t block = 0; block < config_.cores; ++block) {
      const int64_t *record = reinterpret_cast<const int64_t *>(windows_[rank] + RecordOffset(block));
      simulator_->Touch(rank, record, kLineBytes, false);
      if (record[kCode] != kOk) return record;
    }
    return nullptr;
  }

  // False if the rank has given up as it should.
  bool CheckError(uint32_t rank, uint64_t step, bool combine) {
    const bool last = step == fault_step_;
    const bool faulty = rank == config_.fault_rank;
    const Fault fault = step > fault_step_ ? Fault::kNone : config_.fault;
    const int64_t own_code = kFaults[static_cast<int>(fault)].code;
    const int64_t *record = Record(rank);
    if (record == nullptr) {
      const bool must_fail = (fault == Fault::kAbsent && last) || (fault == Fault::kBadId && HasBadId(step)) ||
                             fault == Fault::kNoDispatch || (fault >= Fault::kBadRow && last && combine && faulty) ||
                             (fault == Fault::kBadMask && last) ||
                             (own_code == kKeptPlan && last && (faulty || fault == Fault::kUncombined)) ||
                             (last && (fault == Fault::kBadMap ||
                                       (own_code == kDisagree && !(fault == Fault::kKeepsAlone && faulty))));
      if (must_fail) Fail(rank, step, "no error although rank " + std::to_string(config_.fault_rank) + " failed");
      return true;
    }
    const int64_t *detail = record + kDetail;
    const bool killed = fault == Fault::kKilled;
    const bool absent = fault == Fault::kAbsent || fault == Fault::kAbsentCombine || killed;
    bool right = false;
    if (fault == Fault::kNone) {
      right = false;
    } else if (own_code == kDisagree) {  // each differs from the one, and that one from all
      right = (record[kCode] == kDisagree && (faulty || (record[kCount] == 1 && detail[0] == config_.fault_rank))) ||
              (record[kCode] == kPeerAborted && (detail[1] == kDisagree || detail[1] == kPeerAborted));
    } else if (fault == Fault::kUncombined) {
      right = record[kCode] == kKeptPlan ||
              (record[kCode] == kPeerAborted && (detail[1] == kKeptPlan || detail[1] == kPeerAborted));
    } else if (faulty && !killed) {
      right = record[kCode] == own_code;
    } else if (killed && record[kCode] == kTimedOut) {  // of the killed rank, or of one that has given up for it
      right = true;
    } else if (record[kCode] == kTimedOut) {  // all others take part, so that only the absent one can be missing
      const bool both = detail[0] + detail[1] == config_.fault_rank + config_.world_size - 1;  // in either order
      right = absent && record[kCount] == 1 + two_absent_ && IsAbsent(static_cast<uint32_t>(detail[0])) &&
              (!two_absent_ || both);
    } else if (record[kCode] == kPeerAborted && detail[0] == config_.fault_rank) {
      right = !absent && detail[1] == own_code;
    } else if (record[kCode] == kPeerAborted) {
      right = detail[1] == kPeerAborted || (absent && detail[1] == kTimedOut && (killed || IsAbsent(static_cast<uint32_t>(detail[3]))));
    }
    if (!right) {
      std::string text = "the error record";
      for (uint32_t i = 0; i < kRecordWords; ++i) text += " " + std::to_string(record[i]);
      Fail(rank, step, text + ", as if of something else");
    }
    return false;
  }

  bool HasBadId(uint64_t step) const {
    for (const int64_t id : steps_[step].tokens[config_.fault_rank].expert_ids) {
      if (id >= static_cast<int64_t>(IdNum())) return true;
    }
    return false;
  }

  void CheckCounts(uint32_t rank, uint64_t step, const uint8_t *got, const std::vector<int64_t> &counts) {
    std::vector<int64_t> expected = counts;
    expected.resize(SlotsOf(Shape(), rank), 0);  // without any: zeros
    for (size_t i = 1; config_.cumulative && i < expected.size(); ++i) expected[i] += expected[i - 1];
    CheckBytes(rank, step, "expert_token_nums", got, expected.data(), expected.size() * sizeof(int64_t));
  }

  // A grouped matmul may be queued behind a dispatch that failed: it must find no more rows than the window has.
  void CheckCountsAfterError(uint32_t rank, uint64_t step, const uint8_t *got) {
    const uint64_t experts = SlotsOf(Shape(), rank);
    const int64_t *counts = reinterpret_cast<const int64_t *>(got);
    simulator_->Touch(rank, got, experts * sizeof(int64_t), false);
    int64_t rows = 0;
    for (uint64_t i = 0; i < experts; ++i) {
      if (counts[i] < 0) Fail(rank, step, "a negative count after an error");
      rows = config_.cumulative ? counts[i] : rows + counts[i];
    }
    if (rows > static_cast<int64_t>(config_.capacity)) Fail(rank, step, "counts above the capacity after an error");
  }

  // A dispatch that has failed before any row could move has not happened: no sum and no number counts it.
  void CheckHeaderAfterError(uint32_t rank, uint64_t step) {
    const int64_t phase = Record(rank)[kPhase];
    if (phase != kReadInput && phase != kWaitCounts) return;
    const uint64_t *header = Header(rank);
    Compare(rank, step, "the epoch after an error", header[kEpoch], Epoch(step) - 1);
    Compare(rank, step, "the exchange after an error", header[kExchange], Exchange(step) - !steps_[step].keeps);
  }

  void CheckRows(uint32_t rank, uint64_t number, const Step &step) {
    const std::vector<Row> &rows = step.expected.rows[rank];
    for (size_t row = 0; row < rows.size(); ++row) {
      const uint8_t *x = step.tokens[rows[row].source].x.data() + rows[row].token * config_.row_bytes;
      if (config_.quant_mode == kNotQuantised) {
        CheckBytes(rank, number, "rows", windows_[rank] + RowOffset(Shape(), row), x, config_.row_bytes);
        continue;
      }
      const uint32_t kind = SmoothKind(rows[row].source, step);
      const float *smooth = kind == kNoSmooth ? nullptr : step.smooth.data();
      if (kind == kSmoothPerExpert) smooth += SmoothRow(step, rows[row]) * HiddenSize();
      float scale;
      const std::vector<int8_t> q = Quantise(x, HiddenSize(), config_.dtype, smooth, &scale);
      CheckBytes(rank, number, "quantised rows", windows_[rank] + QuantisedRowOffset(Shape(), HiddenSize(), row), q.data(),
                 q.size());
      CheckBytes(rank, number, "scales", windows_[rank] + ScaleOffset(Shape(), row), &scale, sizeof(scale));
    }
  }

  uint64_t SmoothRow(const Step &step, const Row &row) const {
    if (row.column >= config_.top_k) return row.column - config_.top_k;
    return config_.rules.shared_experts + step.tokens[row.source].expert_ids[row.token * config_.top_k + row.column];
  }

  // Summed over the steps so far.
  void CheckDropped(uint32_t rank, uint64_t number) {
    std::vector<uint64_t> from(config_.world_size, 0);
    std::vector<uint64_t> to(config_.world_size, 0);
    for (uint64_t step = 0; step <= number; ++step) {
      for (uint32_t other = 0; other < config_.world_size; ++other) {
        from[other] += steps_[step].expected.dropped[other][rank];
        to[other] += steps_[step].expected.dropped[rank][other];
      }
    }
    const uint64_t bytes = config_.world_size * sizeof(uint64_t);
    CheckBytes(rank, number, "dropped_from", windows_[rank] + DroppedFromOffset(Shape()), from.data(), bytes);
    CheckBytes(rank, number, "dropped_to", windows_[rank] + DroppedToOffset(Shape()), to.data(), bytes);
  }

  uint64_t RowsAway(uint32_t rank, const Expected &expected) const {
    uint64_t rows = 0;
    const auto own = [rank](const Row &row) { return row.source == rank; };
    for (uint32_t other = 0; other < config_.world_size; ++other) {
      if (other != rank) rows += std::count_if(expected.rows[other].begin(), expected.rows[other].end(), own);
    }
    return rows;
  }

  // Of the steps so far.
  void CheckSums(uint32_t rank, uint64_t number) {
    uint64_t lost = 0;
    uint64_t sent = 0;
    for (uint64_t n = 0; n <= number; ++n) {
      const Expected &expected = steps_[n].expected;
      if (expected.most_rows > config_.capacity) continue;
      lost += std::count(expected.lost[rank].begin(), expected.lost[rank].end(), 1);
      sent += RowsAway(rank, expected);
    }
    const uint64_t *header = Header(rank);
    Compare(rank, number, "lost pairs", header[kLostPairs], lost);
    const uint64_t bytes = config_.quant_mode == kNotQuantised ? config_.row_bytes
                                                               : QuantisedRowBytes(HiddenSize()) + sizeof(float);
    Compare(rank, number, "sent rows", header[kSentRows], config_.keeps_stats ? sent : 0);
    Compare(rank, number, "sent bytes", header[kSentBytes], config_.keeps_stats ? sent * bytes : 0);
  }

  // A host that looks at once takes the verdict away; on an NPU the first one stays until it looks.
  void CheckVerdict(uint32_t rank, uint64_t step, bool overflow) {
    const uint64_t *header = Header(rank);
    uint64_t &untold = untold_verdict_[rank];
    if (untold == kNoStep && overflow) untold = step;
    if ((header[kVerdictCode] == kOverflow) != (untold != kNoStep)) Fail(rank, step, "the overflow verdict is wrong");
    if (untold == kNoStep) return;
    Compare(rank, step, "the verdict's epoch", header[kVerdictEpoch], Epoch(untold));
    CheckVerdictOf(rank, step, header, steps_[untold].expected);
    if (config_.asynchronous) return;
    untold = kNoStep;
    uint64_t *code = reinterpret_cast<uint64_t *>(windows_[rank]) + kVerdictCode;
    *code = kOk;
    simulator_->Touch(rank, code, sizeof(*code), true);
  }

  void CheckVerdictOf(uint32_t rank, uint64_t step, const uint64_t *header, const Expected &expected) {
    uint64_t first = 0;
    while (expected.rows[first].size() <= config_.capacity) ++first;
    Compare(rank, step, "the overfull rank", header[kVerdictRank], first);
    Compare(rank, step, "its need", header[kVerdictNeed], expected.rows[first].size());
    std::vector<uint64_t> sent(config_.world_size, 0);
    for (const Row &row : expected.rows[first]) ++sent[row.source];
    Compare(rank, step, "the rank that sends it most", header[kVerdictSource],
            std::max_element(sent.begin(), sent.end()) - sent.begin());
  }

  // Every routed pair once, in blocks whose starts never go back and that all move about as much.
  void CheckPlan(uint32_t rank, uint64_t step, const Step &s, const uint8_t *plan) {
    const int32_t *words = reinterpret_cast<const int32_t *>(plan);
    const std::vector<int32_t> &expand_idx = s.expected.expand_idx[rank];
    simulator_->Touch(rank, words + kPlanStarts, (config_.cores + 1) * sizeof(int32_t), false);
    const uint32_t columns = config_.rules.Columns();
    std::vector<uint64_t> weight(1, 0);  // of all tokens before
    for (size_t token = 0; token < s.tokens[rank].token_num; ++token) {
      const auto row = expand_idx.begin() + token * columns;
      const auto lost = s.expected.lost[rank].begin() + token * columns;
      const uint64_t moves = std::count_if(row, row + columns, [](int32_t r) { return r >= 0 || r == -2; }) -
                             std::count(lost, lost + columns, 1);
      weight.push_back(weight.back() + (moves == 0 ? 0 : moves + 1));
    }
    for (uint32_t block = 0; block < config_.cores; ++block) {
      const int32_t begin = words[kPlanStarts + block];
      const int32_t end = words[kPlanStarts + block + 1];
      if (begin > end || end >= static_cast<int32_t>(weight.size())) {
        return Fail(rank, step, "the plan's starts go back");
      }
      if (weight[end] - weight[begin] > weight.back() / config_.cores + columns + 2) {
        Fail(rank, step, "the plan is not balanced");
      }
    }
    std::vector<int32_t> seen(expand_idx.size(), 0);
    simulator_->Touch(rank, words + kPlanOrder, expand_idx.size() * sizeof(int32_t), false);
    for (size_t i = 0; i < expand_idx.size(); ++i) {
      const int32_t pair = words[kPlanOrder + i];
      if (pair >= static_cast<int32_t>(expand_idx.size())) return Fail(rank, step, "the plan names a pair that is not");
      if (pair >= 0) ++seen[pair];
    }
    for (size_t i = 0; i < seen.size(); ++i) {
      const int32_t least = config_.balanced ? 0 : 1;  // others may move a row
      if (expand_idx[i] < 0 ? seen[i] != 0 : seen[i] > 1 || seen[i] < least) Fail(rank, step, "the plan misses a pair, or has it twice");
    }
  }

  // Of those in prefill nobody moves more than an equal share of their rows, and the first ranks with room are the first
  // to help. Those in decode move their own.
  void CheckBalance(uint32_t rank, uint64_t number, const Step &step) {
    std::vector<int64_t> load(config_.world_size, 0);
    for (const std::vector<Row> &rows : step.expected.rows) {
      for (const Row &row : rows) ++load[row.source];
    }
    const std::vector<uint8_t> live = LiveIn(number);
    std::vector<uint32_t> pool;
    for (uint32_t other = 0; other < config_.world_size; ++other) {
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
    const int32_t *table = reinterpret_cast<const int32_t *>(windows_[rank] + MovesOffset(Shape()));
    simulator_->Touch(rank, table, config_.world_size * sizeof(int32_t), false);
    int64_t got = 0;
    for (uint32_t other = 0; other < config_.world_size; ++other) got += table[other];
    Compare(rank, number, "rows that it moves", got, moves);
  }

  std::string Describe() const {
    const Configuration &c = config_;
    static const char *const kDtypes[] = {"fp32", "fp16", "bf16"};
    const auto number = [](const char *name, uint64_t value) { return name + std::to_string(value); };
    std::string text = number("after epoch ", past_.epoch) + number(", exchange ", past_.exchange) +
                       number(": R=", c.world_size) + number(" cores=", c.cores) + number(" E=", c.expert_num) +
                       number(" K=", c.top_k) + " " + kDtypes[c.dtype] + number(" row_bytes=", c.row_bytes) +
                       number(" capacity=", c.capacity) + number(" ids=", c.id_bytes) + number(" mask=", c.mask_kind) +
                       number(" buffers=", c.decode_buffer_bytes) + number("/", c.prefill.row_buffer_bytes) +
                       number("x", c.prefill.batch_tokens) + number("/", c.tile_elements) + " T=";
    for (const Step &step : steps_) {
      const bool mixed = !AllPrefill(step) && std::count(step.prefill.begin(), step.prefill.end(), true) > 0;
      if (&step == &FaultStep() + 1) text += "resumed ";
      text += step.keeps ? "kept[" : mixed ? "mixed[" : step.prefill[0] ? "prefill[" : "decode[";
      for (uint32_t rank = 0; rank < c.world_size; ++rank) {
        text += (mixed && step.prefill[rank] ? "prefill " : "") + std::to_string(step.tokens[rank].token_num) + ",";
      }
      text.back() = ']';
      text += step.combine ? (step.in_place ? " in place " : " copied ") : " no combine ";
    }
    text.pop_back();
    if (c.rules.shared_ranks > 0) {
      text += number(" shared experts=", c.rules.shared_experts) + number(" on ranks=", c.rules.shared_ranks);
    }
    if (!c.rules.map.empty()) text += number(" L=", c.rules.map.size()) + number("x", c.max_replicas);
    if (c.rules.special_expert_num > 0) text += number(" special=", c.rules.special_expert_num);
    if (c.quant_mode != kNotQuantised) text += number(" int8, smooth=", c.smooth_kind);
    if (other_smooth_) text += number(", at last none on rank ", c.fault_rank);
    if (c.drops) text += " drops";
    if (local_) text += " local";
    if (c.keeps_stats) text += " stats";
    if (c.balanced) text += " balanced";
    if (c.fuses) text += " fused";
    if (c.leave_step < steps_.size()) {
      text += number(" from step ", c.leave_step) + " without";
      for (uint32_t rank = 0; rank < c.world_size; ++rank) text += c.live[rank] ? "" : number(" ", rank);
    }
    if (c.fault != Fault::kNone) {
      text += ", rank " + std::to_string(c.fault_rank) + ": " + kFaults[static_cast<int>(c.fault)].description;
    }
    return text;
  }

  uint64_t seed_;
  std::mt19937_64 random_;
  Past past_;
  Watch watch_;
  Configuration config_{};
  Observer *observer_ = nullptr;
  bool many_ranks_ = false;
  uint64_t fault_step_ = 0;
  uint32_t resumed_steps_ = 0;    // after it
  std::vector<bool> resuming_;    // of each rank: whether it goes on then
  Past resumed_;                  // where the ranks have agreed to go on
  bool local_ = false;  // no rank has rows for another
  bool two_absent_ = false;
  bool other_ids_ = false;
  bool other_mask_ = false;
  bool other_smooth_ = false;
  std::vector<Step> steps_;
  std::vector<uint8_t *> windows_;
  std::vector<uint8_t *> last_plan_;      // of each rank
  std::vector<std::unique_ptr<Arguments>> ahead_;  // of each rank: of the next dispatch, if it is launched already
  std::vector<uint64_t> read_bytes_;
  std::vector<uint64_t> untold_verdict_;  // of each rank: the step, or kNoStep
  Simulator *simulator_ = nullptr;
  Memory *memory_ = nullptr;
  Result result_;
};

}  // namespace

Result RunScenario(uint64_t seed, const Watch &watch) { return Scenario(seed, watch).Run(); }
Result RunScenario(const Size &size, Observer &observer) { return Scenario(size, observer).Run(); }

}  // namespace simulation
