// Which ranks take part in a dispatch. A rank that has left, dead or by choice, never comes back to its window.
//
// In the dispatch whose mask first excludes a rank, no rows go to or from that rank. The rank itself, if it lives,
// still runs this dispatch and publishes counts of zero. So it is done with the expert outputs of the others before
// they are overwritten. From the next dispatch on nobody waits for it.
#ifndef MOE_COMM_KERNEL_LIVE_RANKS_H
#define MOE_COMM_KERNEL_LIVE_RANKS_H

#include "kernel/core.h"

namespace moe_comm {

class LiveRanks {
 public:
  // `rank_mask`: [R] bool. Without one, the same ranks take part as in the dispatch before.
  __aicore__ inline void Init(Core &core, GM_ADDR rank_mask) {
    window_ = &core.window;
    given_ = rank_mask != nullptr;
    if (!given_) return;
    core.pipe->InitBuffer(mask_buffer_, static_cast<uint32_t>(RoundUp(window_->world_size, kRowAlign)));
    mask_ = mask_buffer_.Get<uint8_t>();
    Load(mask_, rank_mask, window_->world_size);
  }

  // Whether `rank` gets and sends rows in this dispatch.
  __aicore__ inline bool Has(uint32_t rank) const {
    return given_ ? mask_.GetValue(rank) != 0 : window_->TookPart(rank);
  }

  __aicore__ inline bool All() const { return !given_ && window_->AllTookPart(); }

  __aicore__ inline bool Changed() const {
    bool changed = false;
    for (uint32_t rank = 0; given_ && rank < window_->world_size; ++rank) {
      changed = changed || Has(rank) != window_->TookPart(rank);
    }
    return changed;
  }

  // Records an error if the mask is not valid.
  __aicore__ inline void Check(uint64_t epoch, Failure &failure) const {
    if (!window_->TookPart(window_->rank)) RecordBad(RankFault::kSelfLeft, window_->rank, epoch, failure);
    uint32_t experts = 0;
    for (uint32_t rank = 0; rank < window_->world_size; ++rank) {
      if (Has(rank) && !window_->TookPart(rank)) RecordBad(RankFault::kCameBack, rank, epoch, failure);
      experts += Has(rank) && rank >= window_->shared_rank_num;
    }
    if (experts == 0) RecordBad(RankFault::kNobodyLeft, window_->rank, epoch, failure);
  }

  // A hash that shows whether all ranks have the same mask. 0 if all ranks take part.
  __aicore__ inline uint32_t Hash() const {
    uint32_t hash = 0;
    for (uint32_t rank = 0; rank < window_->world_size; ++rank) {
      if (!Has(rank)) hash = hash * 33 + rank + 1;
    }
    return (hash ^ (hash >> 8) ^ (hash >> 16)) & ((1u << kMaskHashBits) - 1);
  }

  // Stores the mask for the next dispatch. One block calls this, when the others no longer read the old one.
  __aicore__ inline void Keep() const {
    if (!given_) return;
    uint32_t left = 0;
    for (uint32_t rank = 0; rank < window_->world_size; ++rank) left += !Has(rank);
    Store(window_->Own(window_->layout.live), mask_, window_->world_size);
    window_->SetField(kLeftRanks, left);
  }

 private:
  __aicore__ inline void RecordBad(RankFault fault, uint32_t rank, uint64_t epoch, Failure &failure) const {
    failure.Record(kReadInput, epoch, InvalidRankMask{fault, rank});
  }

  const Window *window_;
  bool given_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> mask_buffer_;
  AscendC::LocalTensor<uint8_t> mask_;
};

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_LIVE_RANKS_H
