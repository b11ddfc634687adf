// The first stage of a dispatch: each block counts its share of this rank's tokens, and leaves notes for the others.
#ifndef MOE_COMM_KERNEL_COUNTING_H
#define MOE_COMM_KERNEL_COUNTING_H

#include "kernel/slot_page.h"

namespace moe_comm {

class Counting {
 public:
  __aicore__ inline void Init(Core &core) {
    window_ = &core.window;
    failure_ = &core.failure;
    core.pipe->InitBuffer(words_buffer_, kMaxBlocks * kWordPitch * sizeof(uint64_t));
    words_ = words_buffer_.Get<uint64_t>();
  }

  // Counts the tokens of `own` in dispatch `epoch`.
  __aicore__ inline void Count(Routes &routes, SlotPage &page, Span own, uint64_t epoch) {
    if (IsFirstBlock() && routes.Map().Given()) {
      words_.SetValue(0, static_cast<uint64_t>(CheckMap(routes, page, epoch)));
      Store(Note(0, kNoteMap), words_, 1);
    }
    uint64_t weight = 0;
    uint32_t routing = 0;
    uint64_t lost = 0;
    for (uint32_t slot = 0; slot < window_->slot_num; slot += SlotPage::kSlots) {
      page.Turn(slot);
      page.Clear();
      for (uint32_t first = own.begin; first < own.end && !failure_->Failed(); first += Routes::kTileTokens) {
        const uint32_t tokens = Min(Routes::kTileTokens, own.end - first);
        routes.LoadTile(first, tokens);
        for (uint32_t token = 0; token < tokens; ++token) {
          if (slot == 0) {
            if (!Check(routes, first, token, epoch)) break;
            weight += Weight(routes, token);
            routing += Hash(routes, first, token);
            lost += Lost(routes, token);
          }
          page.AddToken(routes, token);
        }
      }
      page.StoreTo(window_->layout.histogram, Block());
    }
    words_.SetValue(0, weight);
    words_.SetValue(kNoteRouting - kNoteWeight, lost << 32 | routing);
    Store(Note(Block(), kNoteWeight), words_, kNoteRouting - kNoteWeight + 1);
  }

  // What a token of the tile costs: one row to load, and one row to write for each of its slots.
  static __aicore__ inline uint64_t Weight(const Routes &routes, uint32_t token) {
    uint64_t routed = 0;
    for (uint32_t column = 0; column < routes.Columns(); ++column) routed += routes.Slot(token, column) >= 0;
    return routed == 0 ? 0 : routed + 1;
  }

  // After a barrier: loads the blocks' weights. WeightOf is valid until another function of this class is called.
  __aicore__ inline void LoadWeights() const { LoadNotes(kNoteWeight); }
  __aicore__ inline uint64_t WeightOf(uint32_t block) const { return words_.GetValue(block * kWordPitch); }

  // After a barrier: a hash of where all tokens go. It shows whether a kept plan fits. It does not depend on how the
  // blocks share the tokens.
  __aicore__ inline uint32_t Routing() const {
    LoadNotes(kNoteRouting);
    uint32_t routing = 0;
    for (uint32_t block = 0; block < Blocks(); ++block) {
      routing += static_cast<uint32_t>(words_.GetValue(block * kWordPitch));
    }
    return routing;
  }

  // After a barrier: the number of pairs whose expert is on a rank that has left.
  __aicore__ inline uint64_t LostPairs() const {
    LoadNotes(kNoteRouting);
    uint64_t lost = 0;
    for (uint32_t block = 0; block < Blocks(); ++block) {
      lost += words_.GetValue(block * kWordPitch) >> 32;
    }
    return lost;
  }

  // After a barrier: a hash of the placement map, or 0 if there is no map.
  __aicore__ inline uint64_t MapHash(const Routes &routes) const {
    if (!routes.Map().Given()) return 0;
    Load(words_, Note(0, kNoteMap), 1);
    return words_.GetValue(0);
  }

 private:
  __aicore__ inline GM_ADDR Note(uint64_t block, uint32_t field) const {
    return window_->Own(window_->layout.notes(block) + field * sizeof(uint64_t));
  }
  __aicore__ inline void LoadNotes(uint32_t field) const {
    LoadStrided(words_, Note(0, field), 1, Blocks(), kLineBytes);
  }

  __aicore__ inline uint32_t CheckMap(const Routes &routes, SlotPage &page, uint64_t epoch) const {
    uint32_t hash = 0;
    for (uint32_t slot = 0; slot < window_->slot_num && !failure_->Failed(); slot += SlotPage::kSlots) {
      page.Turn(slot);
      page.Clear();
      hash = routes.Map().Check(page, epoch, *failure_);
    }
    return hash;
  }

  __aicore__ inline bool Check(const Routes &routes, uint32_t first, uint32_t token, uint64_t epoch) const {
    for (uint32_t k = 0; k < routes.TopK(); ++k) {
      if (!routes.Check(first, token, k, epoch)) return false;
    }
    return true;
  }

  __aicore__ inline uint64_t Lost(const Routes &routes, uint32_t token) const {
    uint64_t lost = 0;
    for (uint32_t column = 0; column < routes.Columns(); ++column) lost += routes.Slot(token, column) == kDropped;
    return lost;
  }

  __aicore__ inline uint32_t Hash(const Routes &routes, uint32_t first, uint32_t token) const {
    uint32_t sum = 0;
    for (uint32_t column = 0; column < routes.Columns(); ++column) {
      uint32_t hash = ((first + token) * Routes::kMaxColumns + column) * 0x9e3779b1u;
      hash = (hash ^ static_cast<uint32_t>(routes.Slot(token, column))) * 0x85ebca6bu;
      sum += hash ^ (hash >> 15);
    }
    return sum;
  }

  const Window *window_;
  Failure *failure_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> words_buffer_;
  AscendC::LocalTensor<uint64_t> words_;
};

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_COUNTING_H
