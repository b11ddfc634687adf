#include "options.h"

#include <algorithm>
#include <iterator>

#include "contract/combine_tiling.h"
#include "faults/absent.h"
#include "faults/bad_id.h"
#include "faults/fault.h"
#include "faults/faults.h"
#include "operators/moe_decode_dispatch/op_host/moe_decode_dispatch_tiling.h"

namespace simulation {

using namespace moe_comm;

namespace {

// Draws the options in groups. A group may depend on the groups before it.
class Swarm {
 public:
  explicit Swarm(Draw &draw) : draw_(draw) {}

  Options Make() {
    options_.past = DrawPast(draw_.engine);
    DrawSizes();
    DrawWhatGoesWrong();
    if (!late_tiles_ && OneIn(50)) SetManyRanks();
    DrawRules();
    DrawFeatures();
    DrawBuffers();
    DrawSteps();
    return std::move(options_);
  }

 private:
  uint64_t Random(uint64_t below) { return draw_.Below(below); }
  bool OneIn(uint64_t times) { return draw_.OneIn(times); }

  void DrawSizes() {
    Options &o = options_;
    o.world_size = 1 + Random(OneIn(3) ? 8 : 4);
    o.cores = 1 + Random(OneIn(3) ? 8 : 3);
    o.combine_cores = OneIn(8) ? 1 + Random(o.cores) : o.cores;
    const bool many_experts = OneIn(20);
    late_tiles_ = many_experts && OneIn(3);
    if (late_tiles_) o.world_size = 5 + Random(4);
    DrawSharedRanks();
    o.expert_num = (o.world_size - o.rules.shared_ranks) *
                   (many_experts ? 500 + Random(200) : 1 + Random(OneIn(4) ? 24 : 4));
    o.top_k = 1 + Random(OneIn(4) ? kMaxTopK : 4);
    o.dtype = Random(kDtypeCount);
    o.row_bytes = kUnit * (1 + Random(OneIn(4) ? 40 : 6));
    if (OneIn(64)) o.row_bytes = 28 * 1024 + kUnit * Random(200);
    o.id_bytes = OneIn(2) ? sizeof(int32_t) : sizeof(int64_t);
    if (OneIn(3)) {
      o.special = {static_cast<uint32_t>(Random(3)), static_cast<uint32_t>(Random(3)),
                   static_cast<uint32_t>(Random(3))};
    }
    o.mask_kind = OneIn(2) ? kNoMask + 0u : 1 + Random(2);
    o.cumulative = OneIn(3);
  }

  void DrawSharedRanks() {
    Options &o = options_;
    if (o.world_size < 2 || !OneIn(4)) return;
    o.rules.shared_experts = 1 + Random(std::min<uint64_t>(kMaxSharedExperts, o.world_size - 1));
    o.rules.shared_ranks = o.rules.shared_experts * (1 + Random((o.world_size - 1) / o.rules.shared_experts));
  }

  void DrawWhatGoesWrong() {
    Options &o = options_;
    o.fault = DrawFault(o, draw_);
    if (late_tiles_) o.fault = std::make_unique<Absent>(true);
    o.fault_rank = Random(late_tiles_ ? o.world_size - 1 : o.world_size);
    o.asynchronous = OneIn(3);
    if (o.fault || o.asynchronous) o.combine_cores = o.cores;
  }

  void SetManyRanks() {
    Options &o = options_;
    o.many_ranks = true;
    o.world_size = kMaxBlocks + 1 + Random(4);
    if (OneIn(2)) o.fault = std::make_unique<BadId>();
    o.fault_rank = o.world_size - 1;
    o.cores = o.combine_cores = 1;
    o.rules = Rules();
    o.expert_num = o.world_size;
    o.top_k = 1 + Random(4);
    o.row_bytes = kUnit;
  }

  // Placement maps, special experts, quantisation and drops, each in some of the seeds.
  void DrawRules() {
    Options &o = options_;
    o.rules.expert_num = o.expert_num;
    o.rules.top_k = o.top_k;
    o.drops = OneIn(4);
    o.quant_mode = OneIn(3) ? kDynamicInt8 : kNotQuantised;
    o.smooth_kind = o.quant_mode == kNotQuantised ? kNoSmooth + 0u : Random(3);
    if (NeedsOf(o).smooth) o.quant_mode = kDynamicInt8, o.smooth_kind = 1 + Random(2);
    if (o.quant_mode != kNotQuantised && !o.many_ranks && OneIn(6)) o.row_bytes = 8192 + kUnit * (1 + Random(100));
    o.rules.special_expert_num = Total(o.special);
    if (NeedsOf(o).map || OneIn(3)) DrawMap();
  }

  void DrawMap() {
    Options &o = options_;
    std::vector<int32_t> physical(o.expert_num);
    for (uint32_t i = 0; i < o.expert_num; ++i) physical[i] = static_cast<int32_t>(i);
    std::shuffle(physical.begin(), physical.end(), draw_.engine);
    const uint32_t logical = 1 + Random(o.expert_num);
    for (uint32_t i = 0; i < logical; ++i) o.rules.map.push_back({physical[i]});
    for (uint32_t i = logical; i < o.expert_num; ++i) {  // the other slots have replicas, or are idle
      if (!OneIn(4)) o.rules.map[Random(logical)].push_back(physical[i]);
    }
    for (const auto &replicas : o.rules.map) {
      o.max_replicas = std::max(o.max_replicas, static_cast<int32_t>(replicas.size() + Random(2)));
    }
    o.rules.replica_policy = Random(3);
  }

  void DrawFeatures() {
    Options &o = options_;
    o.keeps_stats = OneIn(4);
    o.balanced = OneIn(3) || (NeedsOf(o).smooth && OneIn(4));
    if (o.fault && !o.fault->PlantInOptions(o)) o.GiveUpFault();
    o.fuses = OneIn(2) && !o.fault && !o.other_smooth && !o.keeps_stats && o.combine_cores == o.cores;
  }

  // The work split of op_host, or smaller buffers, which cut short rows, too.
  void DrawBuffers() {
    Options &o = options_;
    const uint64_t small = kUnit * (1 + Random(o.row_bytes / kUnit));
    o.decode_buffer_bytes = OneIn(2) ? static_cast<uint32_t>(small) : decode_dispatch::RowBufferBytes(o.row_bytes);
    o.decode_buffer_bytes = std::min<uint32_t>(o.decode_buffer_bytes, decode_dispatch::kMaxRowBuffer);
    o.prefill = prefill_dispatch::Split(o.row_bytes, o.rules.Columns());
    if (OneIn(3)) {
      o.prefill = {static_cast<uint32_t>(std::min(small, prefill_dispatch::kMaxRowBuffer)), 0};
    } else if (o.prefill.batch_tokens > 1 && OneIn(2)) {
      o.prefill.batch_tokens = 1 + Random(o.prefill.batch_tokens);
      o.prefill.row_buffer_bytes = static_cast<uint32_t>(o.prefill.batch_tokens * o.row_bytes);
    }
    const uint64_t hidden = o.HiddenSize();
    o.tile_elements = OneIn(2) ? TileElements(hidden) : static_cast<uint32_t>(small / ElementBytes(o.dtype));
    o.tile_elements = std::min(o.tile_elements, TileElements(hidden));
  }

  void DrawSteps() {
    Options &o = options_;
    DrawLeave();
    const bool plain = !o.many_ranks && !o.fault && o.rules.map.empty() && o.rules.shared_ranks == 0;
    o.local = o.world_size > 1 && plain && OneIn(3);
    o.steps = NeedsOf(o).kept_plan ? 2
              : o.many_ranks       ? 1
                                   : 1 + Random(o.row_bytes > 2048 || o.expert_num > 400 ? 2 : 4);
    if (o.local) o.steps = std::max(o.steps, 3u);
    DrawResume();
  }

  // Some ranks leave; at least one that holds experts stays.
  void DrawLeave() {
    Options &o = options_;
    if (o.fault || o.world_size < 2 || !OneIn(5)) return;
    o.leave_step = Random(3);
    const uint64_t stays = o.rules.shared_ranks + Random(o.world_size - o.rules.shared_ranks);
    for (uint64_t rank = 0; rank < o.world_size; ++rank) o.live.push_back(rank == stays || OneIn(2));
  }

  // After the last step the ranks that have not ended resume, if one of them has experts.
  void DrawResume() {
    Options &o = options_;
    o.fault_step = o.steps - 1;
    const bool resumes = NeedsOf(o).resume || (o.fault && !OneIn(3));
    o.resumed_steps = resumes ? 1 + Random(2) : 0;
    uint32_t with_experts = 0;
    for (uint32_t rank = 0; rank < o.world_size; ++rank) {
      o.resuming.push_back(!o.fault || !o.fault->Ends(o, rank));
      with_experts += o.resuming[rank] && rank >= o.rules.shared_ranks;
    }
    if (with_experts == 0) o.resumed_steps = 0;
  }

  Draw &draw_;
  Options options_;
  bool late_tiles_ = false;  // a rank is missing among more ranks than one look shows
};

std::string Number(const char *name, uint64_t value) { return name + std::to_string(value); }

}  // namespace

Options DrawOptions(Draw &draw) { return Swarm(draw).Make(); }

Options OptionsOf(const Size &size) {
  Options o;
  o.world_size = size.ranks;
  o.cores = o.combine_cores = size.cores;
  o.expert_num = o.rules.expert_num = size.experts;
  o.top_k = o.rules.top_k = size.top_k;
  o.dtype = kBfloat16;
  o.row_bytes = size.row_bytes;
  o.id_bytes = sizeof(int32_t);
  o.decode_buffer_bytes = decode_dispatch::RowBufferBytes(o.row_bytes);
  o.prefill = prefill_dispatch::Split(o.row_bytes, o.top_k);
  o.tile_elements = TileElements(o.HiddenSize());
  o.steps = 2;
  o.fault_step = o.steps - 1;
  return o;
}

std::vector<uint8_t> Options::LiveIn(uint64_t step) const {
  if (step >= leave_step) return live;
  return step > fault_step ? std::vector<uint8_t>(resuming.begin(), resuming.end()) : std::vector<uint8_t>();
}

const Fault &Options::FaultIn(uint64_t step) const {
  static const NoFault none;
  if (fault && step <= fault_step) return *fault;
  return none;
}

std::string Describe(const Options &o, uint64_t capacity, const std::string &steps) {
  static const char *const kDtypes[] = {"fp32", "fp16", "bf16"};
  static_assert(std::size(kDtypes) == kDtypeCount, "a short name for each row of the table of dtypes");
  std::string text = Number("after epoch ", o.past.epoch) + Number(", exchange ", o.past.exchange) +
                     Number(": R=", o.world_size) + Number(" cores=", o.cores) + Number(" E=", o.expert_num) +
                     Number(" K=", o.top_k) + " " + kDtypes[o.dtype] + Number(" row_bytes=", o.row_bytes) +
                     Number(" capacity=", capacity) + Number(" ids=", o.id_bytes) + Number(" mask=", o.mask_kind) +
                     Number(" buffers=", o.decode_buffer_bytes) + Number("/", o.prefill.row_buffer_bytes) +
                     Number("x", o.prefill.batch_tokens) + Number("/", o.tile_elements) + " T=" + steps;
  if (o.rules.shared_ranks > 0) {
    text += Number(" shared experts=", o.rules.shared_experts) + Number(" on ranks=", o.rules.shared_ranks);
  }
  if (!o.rules.map.empty()) text += Number(" L=", o.rules.map.size()) + Number("x", o.max_replicas);
  if (o.rules.special_expert_num > 0) text += Number(" special=", o.rules.special_expert_num);
  if (o.quant_mode != kNotQuantised) text += Number(" int8, smooth=", o.smooth_kind);
  if (o.other_smooth) text += Number(", at last none on rank ", o.fault_rank);
  if (o.drops) text += " drops";
  if (o.local) text += " local";
  if (o.keeps_stats) text += " stats";
  if (o.balanced) text += " balanced";
  if (o.fuses) text += " fused";
  if (o.leave_step < o.steps) {
    text += Number(" from step ", o.leave_step) + " without";
    for (uint32_t rank = 0; rank < o.world_size; ++rank) text += o.live[rank] ? "" : Number(" ", rank);
  }
  if (o.fault) text += ", rank " + std::to_string(o.fault_rank) + ": " + o.fault->Description();
  return text;
}

std::string DescribeMore(const Options &o) {
  std::string text = Number("combine cores=", o.combine_cores);
  if (!o.rules.map.empty()) text += Number(" replica policy=", o.rules.replica_policy);
  if (Total(o.special) > 0) {
    text += Number(" zero=", o.special.zero) + Number(" copy=", o.special.copy) +
            Number(" constant=", o.special.constant);
  }
  if (o.cumulative) text += " cumulative counts";
  if (o.asynchronous) text += " asynchronous host";
  if (o.many_ranks) text += " many ranks";
  if (o.unplanted) text += std::string(", could not be planted: ") + o.unplanted->Description();
  return text;
}

}  // namespace simulation
