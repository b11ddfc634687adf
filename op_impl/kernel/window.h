// A kernel's view of the expert window: the header, read once, and the addresses of parts here and on peers.
#ifndef MOE_COMM_KERNEL_WINDOW_H
#define MOE_COMM_KERNEL_WINDOW_H

#include "contract/dtype.h"
#include "contract/errors.h"
#include "contract/window_schema.h"
#include "kernel/blocks.h"
#include "kernel/moves.h"

namespace moe_comm {

class Window {
 public:
  // `buffer` holds the header and the live ranks. The header is read past the scalar cache, since another core wrote
  // the epoch.
  static constexpr uint32_t kHeaderWords = (kFieldCount + kWordPitch - 1) / kWordPitch * kWordPitch;
  static constexpr uint32_t kBufferWords = kHeaderWords + kMaxRanks / sizeof(uint64_t);

  __aicore__ inline void Init(GM_ADDR base, const AscendC::LocalTensor<uint64_t> &buffer) {
    base_ = base;
    word_ = buffer;
    Load(buffer, base, kFieldCount);
    shape = ShapeOf(Header{buffer});
    layout = WindowLayout(shape);
    shared_expert_num = static_cast<uint32_t>(buffer.GetValue(kSharedExpertNum));
    dtype = static_cast<uint32_t>(buffer.GetValue(kDtype));
    drops = buffer.GetValue(kOverflowDrop) != 0;
    rank = static_cast<uint32_t>(buffer.GetValue(kRankId));
    world_size = static_cast<uint32_t>(shape.world_size);
    expert_num = static_cast<uint32_t>(shape.expert_num);
    slot_num = static_cast<uint32_t>(SlotNum(shape));
    shared_rank_num = static_cast<uint32_t>(shape.shared_ranks);
    timeout_us = static_cast<int64_t>(buffer.GetValue(kTimeoutUs));
    epoch = buffer.GetValue(kEpoch);
    exchange = buffer.GetValue(kExchange);
    placed_epoch = buffer.GetValue(kPlacedEpoch);
    combined_epoch = buffer.GetValue(kCombinedEpoch);
    untold_verdict = buffer.GetValue(kVerdictCode) != kNoError;
    keeps_stats = buffer.GetValue(kKeepsStats) != 0;
    received_rows = buffer.GetValue(kReceivedRows);
    all_live_ = buffer.GetValue(kLeftRanks) == 0;
    live_ = buffer[kHeaderWords].template ReinterpretCast<uint8_t>();
    if (!all_live_) Load(live_, Own(layout.live), world_size);
    peers_.SetGlobalBuffer(reinterpret_cast<__gm__ uint64_t *>(base + layout.peers.offset));
  }

  __aicore__ inline GM_ADDR Own(uint64_t offset) const { return base_ + offset; }
  // A piece of a part of this rank's region.
  __aicore__ inline GM_ADDR Own(const PartPlace &part, uint64_t piece = 0) const { return base_ + part(piece); }

  // The row of counts from `source` in each region. Two consecutive exchanges use different rows.
  __aicore__ inline uint64_t CountsRow(uint64_t exchange, uint64_t source) const {
    return moe_comm::CountsRow(layout, shape, exchange, source);
  }

  __aicore__ inline uint32_t FirstSlotOf(uint32_t owner) const {
    return static_cast<uint32_t>(FirstSlot(shape, owner));
  }
  __aicore__ inline uint32_t SlotNumOf(uint32_t owner) const { return static_cast<uint32_t>(SlotsOf(shape, owner)); }
  __aicore__ inline uint32_t Owner(int32_t slot) const {
    return static_cast<uint32_t>(OwnerOfSlot(shape, static_cast<uint64_t>(slot)));
  }
  __aicore__ inline uint32_t OwnerOfExpert(int64_t physical) const {
    return Owner(static_cast<int32_t>(physical + shared_rank_num));
  }
  // Where this rank sends its tokens for shared expert `index`. The expert's instances take turns over the ranks.
  __aicore__ inline int32_t SharedSlot(uint32_t index) const {
    const uint32_t instances = shared_rank_num / shared_expert_num;
    return static_cast<int32_t>(rank % instances + index * instances);
  }
  __aicore__ inline uint32_t HiddenSize() const { return static_cast<uint32_t>(shape.row_bytes / BytesOf(dtype)); }

  // The table of peers never changes after the window is created, so the scalar cache may keep it.
  __aicore__ inline GM_ADDR Peer(uint32_t peer, uint64_t offset) const {
    return reinterpret_cast<GM_ADDR>(peers_.GetValue(peer) + offset);
  }

  // Whether `rank` took part in the last dispatch. This rank tells and awaits such ranks only.
  __aicore__ inline bool TookPart(uint32_t rank) const { return all_live_ || live_.GetValue(rank) != 0; }

  __aicore__ inline bool AllTookPart() const { return all_live_; }

  // Adds to a word of this rank's region. Only one block writes a word.
  __aicore__ inline void AddTo(uint64_t offset, uint64_t value) const {
    Load(word_, Own(offset), 1);
    word_.SetValue(0, word_.GetValue(0) + value);
    Store(Own(offset), word_, 1);
  }

  // Sets a word of this rank's header, for the host and for later kernels. Only one block writes a word.
  __aicore__ inline void SetField(uint32_t field, uint64_t value) const {
    word_.SetValue(0, value);
    Store(Own(FieldOffset(field)), word_, 1);
  }

  WindowShape shape;
  WindowLayout layout;
  uint32_t rank;
  uint32_t world_size;
  uint32_t expert_num;         // E, routed physical experts
  uint32_t slot_num;           // Q + E
  uint32_t shared_rank_num;    // Q
  uint32_t shared_expert_num;  // S on ranks of their own
  uint32_t dtype;
  bool drops;  // rows beyond a window's capacity are dropped
  int64_t timeout_us;
  uint64_t epoch;           // of the last dispatch; a dispatch adds one to begin its own
  uint64_t exchange;        // of the last counts exchange
  uint64_t placed_epoch;    // of the last dispatch that placed its rows
  uint64_t combined_epoch;  // of the last combine
  bool untold_verdict;      // a dispatch did not fit, and the host has not looked yet
  bool keeps_stats;
  uint64_t received_rows;  // of the last dispatch that placed its rows

 private:
  struct Header {
    __aicore__ inline uint64_t operator()(WindowField field) const { return words.GetValue(field); }
    const AscendC::LocalTensor<uint64_t> &words;
  };

  GM_ADDR base_;
  bool all_live_;
  AscendC::LocalTensor<uint64_t> word_;
  AscendC::LocalTensor<uint8_t> live_;
  AscendC::GlobalTensor<uint64_t> peers_;
};

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_WINDOW_H
