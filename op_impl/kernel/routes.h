// The slot of the group to which each (token, column) of a tile goes, after mask, placement map and special experts.
// Columns are the K of expert_ids, then one for each shared expert on ranks of its own.
#ifndef MOE_COMM_KERNEL_ROUTES_H
#define MOE_COMM_KERNEL_ROUTES_H

#include "contract/special_experts.h"
#include "kernel/expert_map.h"
#include "kernel/live_ranks.h"
#include "kernel/routing.h"

namespace moe_comm {

constexpr int32_t kDropped = -2;  // in expand_idx. As a slot: the expert is on a rank that takes no part any more

class Routes {
 public:
  static constexpr uint32_t kTileTokens = Routing::kTileTokens;
  static constexpr uint32_t kMaxColumns = kMaxTopK + kMaxSharedExperts;
  static constexpr uint32_t kTilePairs = kTileTokens * kMaxColumns;

  __aicore__ inline void Init(Core &core, const LiveRanks *live, const DispatchArguments &arguments) {
    window_ = &core.window;
    failure_ = &core.failure;
    live_ = live;
    special_expert_num_ = arguments.special_expert_num;
    core.pipe->InitBuffer(routing_buffer_, Routing::kBufferBytes);
    core.pipe->InitBuffer(slots_buffer_, kTilePairs * sizeof(int32_t));
    slots_ = slots_buffer_.Get<int32_t>();
    RoutingInput input;
    input.expert_ids = arguments.expert_ids;
    input.active_mask = arguments.x_active_mask;
    input.token_num = arguments.token_num;
    input.top_k = arguments.top_k;
    input.id_bytes = arguments.id_bytes;
    input.mask_kind = arguments.mask_kind;
    routing_.Init(input, window_->expert_num, routing_buffer_.Get<uint8_t>());
    map_.Init(window_, live, arguments);
    columns_ = routing_.TopK() + window_->shared_expert_num;
  }

  __aicore__ inline uint32_t TokenNum() const { return routing_.TokenNum(); }
  __aicore__ inline uint32_t TopK() const { return routing_.TopK(); }
  __aicore__ inline uint32_t Columns() const { return columns_; }
  __aicore__ inline const ExpertMap &Map() const { return map_; }

  // Loads `tokens` (at most kTileTokens) tokens from `first` on.
  __aicore__ inline void LoadTile(uint32_t first, uint32_t tokens) {
    routing_.LoadTile(first, tokens);
    for (uint32_t token = 0; token < tokens; ++token) {
      bool active = false;
      for (uint32_t k = 0; k < TopK(); ++k) {
        const bool masked = routing_.Masked(token, k);
        active = active || !masked;
        slots_.SetValue(token * columns_ + k, masked ? kNotRouted : Resolve(routing_.GivenId(token, k), first + token));
      }
      for (uint32_t j = 0; j < window_->shared_expert_num; ++j) {
        slots_.SetValue(token * columns_ + TopK() + j, active ? Living(window_->SharedSlot(j)) : kNotRouted);
      }
    }
  }

  // The slot of a pair of the tile. It is negative if the pair has no row.
  __aicore__ inline int32_t Slot(uint32_t token, uint32_t column) const {
    return slots_.GetValue(token * columns_ + column);
  }
  __aicore__ inline int32_t SlotOfPair(uint32_t pair) const { return slots_.GetValue(pair); }

  // The expand_idx of a pair without a slot.
  static __aicore__ inline int32_t WithoutRow(int32_t slot) { return slot <= kSpecialExpert ? kSpecialExpert : slot; }

  // The pair's physical expert, negative if not routed. Special experts follow the E physical ones.
  __aicore__ inline int32_t PhysicalId(uint32_t token, uint32_t k) const {
    const int32_t slot = Slot(token, k);
    if (slot <= kSpecialExpert) return static_cast<int32_t>(window_->expert_num) + (kSpecialExpert - slot);
    return slot < 0 ? kNotRouted : slot - static_cast<int32_t>(window_->shared_rank_num);
  }

  // The row of `scales` for a pair of the tile. `scales` is a model's parameter, so logical experts index it. The rows
  // of the shared experts come first.
  __aicore__ inline uint64_t SmoothRow(uint32_t token, uint32_t column) const {
    if (column >= TopK()) return column - TopK();
    const int64_t id = routing_.GivenId(token, column);
    return window_->shared_expert_num + static_cast<uint64_t>(id < 0 ? 0 : id);
  }

  // Records an error and returns false if pair (token, k) of the tile names an expert that does not exist.
  __aicore__ inline bool Check(uint32_t first, uint32_t token, uint32_t k, uint64_t epoch) const {
    if (Slot(token, k) != kNoSuchExpert) return true;
    const int64_t id = routing_.GivenId(token, k);
    const int64_t limit = map_.IdLimit() + special_expert_num_;
    if (id >= limit) {
      failure_->Record(kReadInput, epoch, ExpertIdRange{id, limit, first + token, k});
    } else {  // block 0 checks the whole map and says what is wrong, if it records first
      failure_->Record(kReadInput, epoch, InvalidMap{MapFault::kPhysicalId, id, -1, window_->expert_num});
    }
    return false;
  }

 private:
  static constexpr int32_t kNoSuchExpert = -0x7fffffff;

  // Special expert i gets the slot kSpecialExpert - i.
  __aicore__ inline int32_t Resolve(int64_t id, uint32_t token) const {
    if (id < 0) return kNotRouted;
    const int64_t limit = map_.IdLimit();
    if (id >= limit + special_expert_num_) return kNoSuchExpert;
    if (id >= limit) return kSpecialExpert - static_cast<int32_t>(id - limit);
    const int32_t physical = map_.Physical(static_cast<int32_t>(id), token);
    if (physical < 0) return kNoSuchExpert;
    return Living(physical + static_cast<int32_t>(window_->shared_rank_num));
  }

  __aicore__ inline int32_t Living(int32_t slot) const {
    return live_->Has(window_->rank) && live_->Has(window_->Owner(slot)) ? slot : kDropped;
  }

  const Window *window_;
  Failure *failure_;
  const LiveRanks *live_;
  uint32_t special_expert_num_;
  uint32_t columns_;
  Routing routing_;
  ExpertMap map_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> routing_buffer_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> slots_buffer_;
  AscendC::LocalTensor<int32_t> slots_;
};

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_ROUTES_H
