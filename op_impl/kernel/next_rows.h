// The rows of a block's tokens. They follow this rank's first rows and the rows of the tokens before.
#ifndef MOE_COMM_KERNEL_NEXT_ROWS_H
#define MOE_COMM_KERNEL_NEXT_ROWS_H

#include "kernel/slot_page.h"

namespace moe_comm {

class NextRows {
 public:
  __aicore__ inline void Init(Core &core) {
    window_ = &core.window;
    paged_ = window_->slot_num > SlotPage::kSlots;
    if (window_->drops) {
      core.pipe->InitBuffer(last_buffer_, SlotPage::kSlots * sizeof(int32_t));
      last_ = last_buffer_.Get<int32_t>();
    }
  }

  // Begins behind the tokens that the first `blocks` blocks counted, and behind those of `skipped`. Nobody else turns
  // `page` until the last Assign.
  __aicore__ inline void Begin(Routes &routes, SlotPage &page, uint32_t blocks, Span skipped) {
    for (uint32_t slot = 0; slot < window_->slot_num; slot += SlotPage::kSlots) {
      page.Turn(slot);
      page.LoadFrom(window_->layout.first_rows);
      for (uint32_t block = 0; block < blocks; ++block) page.AddHistogram(block);
      for (uint32_t first = skipped.begin; first < skipped.end; first += Routes::kTileTokens) {
        const uint32_t tokens = Min(Routes::kTileTokens, skipped.end - first);
        routes.LoadTile(first, tokens);
        for (uint32_t token = 0; token < tokens; ++token) page.AddToken(routes, token);
      }
      if (paged_) page.StoreTo(window_->layout.next_rows, Block());
    }
    if (window_->drops && !paged_) LoadLast(page, 0);
  }

  // Takes the next row of each slot that the tile's `tokens` tokens go to. The result is `indices` [tokens, columns].
  // If the window drops, it drops the rows from the last rows on.
  __aicore__ inline void Assign(const Routes &routes, SlotPage &page, uint32_t tokens,
                                const AscendC::LocalTensor<int32_t> &indices) {
    const uint32_t pairs = tokens * routes.Columns();
    for (uint32_t pair = 0; pair < pairs; ++pair) indices.SetValue(pair, Routes::WithoutRow(routes.SlotOfPair(pair)));
    for (uint32_t first = 0; first < window_->slot_num; first += SlotPage::kSlots) {
      if (paged_) {
        page.Turn(first);
        page.LoadFrom(window_->layout.next_rows, Block());
        if (window_->drops) LoadLast(page, first);
      }
      for (uint32_t pair = 0; pair < pairs; ++pair) {
        const int32_t slot = routes.SlotOfPair(pair);
        if (!page.Has(slot)) continue;
        const int32_t row = page.Get(slot);
        page.Set(slot, row + 1);
        const bool dropped = window_->drops && row >= last_.GetValue(slot - static_cast<int32_t>(first));
        indices.SetValue(pair, dropped ? kDropped : row);
      }
      if (paged_) page.StoreTo(window_->layout.next_rows, Block());
    }
  }

 private:
  // Loads where the rows of this rank end for each slot of the page.
  __aicore__ inline void LoadLast(const SlotPage &page, uint32_t first) const {
    Load(last_, window_->Own(window_->layout.last_rows, first), page.Count());
  }

  const Window *window_;
  bool paged_;  // if false, the page keeps its content between two tiles
  AscendC::TBuf<AscendC::TPosition::VECCALC> last_buffer_;
  AscendC::LocalTensor<int32_t> last_;
};

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_NEXT_ROWS_H
