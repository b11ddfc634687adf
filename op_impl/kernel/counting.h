// The first stage of a dispatch: each block counts its share of this rank's tokens, and leaves what the others need.
#ifndef MOE_COMM_KERNEL_COUNTING_H
#define MOE_COMM_KERNEL_COUNTING_H

#include "kernel/slot_page.h"

namespace moe_comm {

class Counting {
 public:
  __aicore__ inline void Init(const Window *window, Failure *failure, Routes *routes, SlotPage *page,
                              AscendC::TPipe *pipe) {
    window_ = window;
    failure_ = failure;
    routes_ = routes;
    page_ = page;
    pipe->InitBuffer(words_buffer_, kMaxBlocks * kWordPitch * sizeof(uint64_t));
    words_ = words_buffer_.Get<uint64_t>();
  }

  // Counts tokens begin .. end of dispatch `epoch`.
  __aicore__ inline void Count(uint32_t begin, uint32_t end, uint64_t epoch) {
    const uint32_t block = static_cast<uint32_t>(AscendC::GetBlockIdx());
    if (block == 0 && routes_->Map().Given()) {
      words_.SetValue(0, static_cast<uint64_t>(CheckMap(epoch)));
      Store(Note(0, kNoteMap), words_, 1);
    }
    uint64_t weight = 0;
    uint32_t routing = 0;
    uint64_t lost = 0;
    for (uint32_t slot = 0; slot < window_->slot_num; slot += SlotPage::kSlots) {
      page_->Turn(slot);
      page_->Clear();
      for (uint32_t first = begin; first < end && !failure_->Failed(); first += Routes::kTileTokens) {
        const uint32_t tokens = Min(Routes::kTileTokens, end - first);
        routes_->LoadTile(first, tokens);
        for (uint32_t token = 0; token < tokens; ++token) {
          if (slot == 0) {
            if (!Check(first, token, epoch)) break;
            weight += Weight(token);
            routing += Hash(first, token);
            lost += Lost(token);
          }
          page_->AddToken(*routes_, token);
        }
      }
      page_->StoreTo(window_->layout.histogram, block);
    }
    words_.SetValue(0, weight);
    words_.SetValue(kNoteRouting - kNoteWeight, lost << 32 | routing);
    Store(Note(block, kNoteWeight), words_, kNoteRouting - kNoteWeight + 1);
  }

  // Of a token of the tile: one row to load, one to write for each slot.
  __aicore__ inline uint64_t Weight(uint32_t token) const {
    uint64_t routed = 0;
    for (uint32_t column = 0; column < routes_->Columns(); ++column) routed += routes_->Slot(token, column) >= 0;
    return routed == 0 ? 0 : routed + 1;
  }

  // After a barrier: what each block counted, for WeightOf until the next call here.
  __aicore__ inline void LoadWeights() const { LoadNotes(kNoteWeight); }
  __aicore__ inline uint64_t WeightOf(uint32_t block) const { return words_.GetValue(block * kWordPitch); }

  // After a barrier: a hash of where all tokens go, by which a kept plan knows its own. It does not depend on how
  // the tokens are shared out.
  __aicore__ inline uint32_t Routing() const {
    LoadNotes(kNoteRouting);
    uint32_t routing = 0;
    for (uint32_t block = 0; block < static_cast<uint32_t>(AscendC::GetBlockNum()); ++block) {
      routing += static_cast<uint32_t>(words_.GetValue(block * kWordPitch));
    }
    return routing;
  }

  // After a barrier: how many pairs have lost their expert with its rank.
  __aicore__ inline uint64_t LostPairs() const {
    LoadNotes(kNoteRouting);
    uint64_t lost = 0;
    for (uint32_t block = 0; block < static_cast<uint32_t>(AscendC::GetBlockNum()); ++block) {
      lost += words_.GetValue(block * kWordPitch) >> 32;
    }
    return lost;
  }

  // After a barrier: a hash of the placement map, 0 without one.
  __aicore__ inline uint64_t MapHash() const {
    if (!routes_->Map().Given()) return 0;
    Load(words_, Note(0, kNoteMap), 1);
    return words_.GetValue(0);
  }

 private:
  __aicore__ inline GM_ADDR Note(uint64_t block, uint32_t field) const {
    return window_->Own(window_->layout.notes(block) + field * sizeof(uint64_t));
  }
  __aicore__ inline void LoadNotes(uint32_t field) const {
    LoadStrided(words_, Note(0, field), 1, static_cast<uint32_t>(AscendC::GetBlockNum()), kLineBytes);
  }

  __aicore__ inline uint32_t CheckMap(uint64_t epoch) const {
    uint32_t hash = 0;
    for (uint32_t slot = 0; slot < window_->slot_num && !failure_->Failed(); slot += SlotPage::kSlots) {
      page_->Turn(slot);
      page_->Clear();
      hash = routes_->Map().Check(*page_, epoch, *failure_);
    }
    return hash;
  }

  __aicore__ inline bool Check(uint32_t first, uint32_t token, uint64_t epoch) const {
    for (uint32_t k = 0; k < routes_->TopK(); ++k) {
      if (!routes_->Check(first, token, k, epoch)) return false;
    }
    return true;
  }

  __aicore__ inline uint64_t Lost(uint32_t token) const {
    uint64_t lost = 0;
    for (uint32_t column = 0; column < routes_->Columns(); ++column) lost += routes_->Slot(token, column) == kDropped;
    return lost;
  }

  __aicore__ inline uint32_t Hash(uint32_t first, uint32_t token) const {
    uint32_t sum = 0;
    for (uint32_t column = 0; column < routes_->Columns(); ++column) {
      uint32_t hash = ((first + token) * Routes::kMaxColumns + column) * 0x9e3779b1u;
      hash = (hash ^ static_cast<uint32_t>(routes_->Slot(token, column))) * 0x85ebca6bu;
      sum += hash ^ (hash >> 15);
    }
    return sum;
  }

  const Window *window_;
  Failure *failure_;
  Routes *routes_;
  SlotPage *page_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> words_buffer_;
  AscendC::LocalTensor<uint64_t> words_;
};

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_COUNTING_H
