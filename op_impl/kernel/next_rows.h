// The rows of a block's tokens: from the first rows of this rank, past those of the tokens before.
#ifndef MOE_COMM_KERNEL_NEXT_ROWS_H
#define MOE_COMM_KERNEL_NEXT_ROWS_H

#include "kernel/slot_page.h"

namespace moe_comm {

class NextRows {
 public:
  __aicore__ inline void Init(const Window *window, Routes *routes, SlotPage *page, AscendC::TPipe *pipe) {
    window_ = window;
    routes_ = routes;
    page_ = page;
    paged_ = window->slot_num > SlotPage::kSlots;
    if (window->drops) {
      pipe->InitBuffer(last_buffer_, SlotPage::kSlots * sizeof(int32_t));
      last_ = last_buffer_.Get<int32_t>();
    }
  }

  // For the tokens after those that the first `blocks` blocks counted and tokens begin .. end.
  __aicore__ inline void Begin(uint32_t blocks, uint32_t begin, uint32_t end) {
    for (uint32_t slot = 0; slot < window_->slot_num; slot += SlotPage::kSlots) {
      page_->Turn(slot);
      page_->LoadFrom(window_->layout.first_rows);
      for (uint32_t block = 0; block < blocks; ++block) page_->AddHistogram(block);
      for (uint32_t first = begin; first < end; first += Routes::kTileTokens) {
        const uint32_t tokens = Min(Routes::kTileTokens, end - first);
        routes_->LoadTile(first, tokens);
        for (uint32_t token = 0; token < tokens; ++token) page_->AddToken(*routes_, token);
      }
      if (paged_) page_->StoreTo(window_->layout.next_rows, Block());
    }
    if (window_->drops && !paged_) LoadLast(0);
  }

  // Takes the next row of each slot that the tile's `tokens` tokens go to; the result is `indices` [tokens, columns].
  // From the last rows on, rows are dropped; only if the window drops.
  __aicore__ inline void Assign(uint32_t tokens, const AscendC::LocalTensor<int32_t> &indices) {
    const uint32_t pairs = tokens * routes_->Columns();
    for (uint32_t pair = 0; pair < pairs; ++pair) indices.SetValue(pair, Routes::WithoutRow(routes_->SlotOfPair(pair)));
    for (uint32_t first = 0; first < window_->slot_num; first += SlotPage::kSlots) {
      if (paged_) {
        page_->Turn(first);
        page_->LoadFrom(window_->layout.next_rows, Block());
        if (window_->drops) LoadLast(first);
      }
      for (uint32_t pair = 0; pair < pairs; ++pair) {
        const int32_t slot = routes_->SlotOfPair(pair);
        if (!page_->Has(slot)) continue;
        const int32_t row = page_->Get(slot);
        page_->Set(slot, row + 1);
        const bool dropped = window_->drops && row >= last_.GetValue(slot - static_cast<int32_t>(first));
        indices.SetValue(pair, dropped ? kDropped : row);
      }
      if (paged_) page_->StoreTo(window_->layout.next_rows, Block());
    }
  }

 private:
  __aicore__ inline uint64_t Block() const { return static_cast<uint64_t>(AscendC::GetBlockIdx()); }
  // Where the rows of this rank end for each slot of the page.
  __aicore__ inline void LoadLast(uint32_t first) const {
    Load(last_, window_->Own(window_->layout.last_rows, first), page_->Count());
  }

  const Window *window_;
  Routes *routes_;
  SlotPage *page_;
  bool paged_;  // else the page stays as it is between two tiles
  AscendC::TBuf<AscendC::TPosition::VECCALC> last_buffer_;
  AscendC::LocalTensor<int32_t> last_;
};

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_NEXT_ROWS_H
