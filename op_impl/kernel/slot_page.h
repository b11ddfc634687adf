// One page of a table over the slots. The unified buffer never holds a whole table, so no number of experts is too
// large for it.
#ifndef MOE_COMM_KERNEL_SLOT_PAGE_H
#define MOE_COMM_KERNEL_SLOT_PAGE_H

#include "kernel/routes.h"

namespace moe_comm {

class SlotPage {
 public:
  static constexpr uint32_t kSlots = 1024;

  __aicore__ inline void Init(Core &core) {
    window_ = &core.window;
    core.pipe->InitBuffer(words_buffer_, kSlots * sizeof(int32_t));
    core.pipe->InitBuffer(addend_buffer_, kSlots * sizeof(int32_t));
    words_ = words_buffer_.Get<int32_t>();
    addend_ = addend_buffer_.Get<int32_t>();
  }

  // Turns to the slots from `first` on, a multiple of kSlots. The content of the page is lost.
  __aicore__ inline void Turn(uint32_t first) {
    first_ = static_cast<int32_t>(first);
    count_ = Min(kSlots, window_->slot_num - first);
  }
  __aicore__ inline uint32_t Count() const { return count_; }
  // False for negative slots.
  __aicore__ inline bool Has(int32_t slot) const {
    return slot >= first_ && static_cast<uint32_t>(slot - first_) < count_;
  }
  __aicore__ inline int32_t Get(int32_t slot) const { return words_.GetValue(slot - first_); }
  __aicore__ inline void Set(int32_t slot, int32_t value) const { words_.SetValue(slot - first_, value); }
  // The word of the page's slot number `i`.
  __aicore__ inline int32_t Word(uint32_t i) const { return words_.GetValue(i); }

  __aicore__ inline void Clear() const { moe_comm::Clear(words_, count_); }

  // Loads the page from a table of this rank. `table` is the number of the piece if the part has several.
  __aicore__ inline void LoadFrom(const PartPlace &part, uint64_t table = 0) const {
    Load(words_, At(part(table)), count_);
  }
  __aicore__ inline void StoreTo(const PartPlace &part, uint64_t table) const {
    Store(At(part(table)), words_, count_);
  }

  // Adds what a block has counted.
  __aicore__ inline void AddHistogram(uint32_t block) const {
    Load(addend_, At(window_->layout.histogram(block)), count_);
    Sync<AscendC::HardEvent::S_V>();
    AscendC::Add(words_, words_, addend_, static_cast<int32_t>(count_));
    Sync<AscendC::HardEvent::V_S>();
  }

  // Adds one to each slot of the page that `token` of the tile goes to.
  __aicore__ inline void AddToken(const Routes &routes, uint32_t token) const {
    for (uint32_t column = 0; column < routes.Columns(); ++column) {
      const int32_t slot = routes.Slot(token, column);
      if (Has(slot)) Set(slot, Get(slot) + 1);
    }
  }

 private:
  __aicore__ inline GM_ADDR At(uint64_t offset) const { return window_->Own(offset + first_ * sizeof(int32_t)); }

  const Window *window_;
  int32_t first_ = 0;
  uint32_t count_ = 0;
  AscendC::TBuf<AscendC::TPosition::VECCALC> words_buffer_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> addend_buffer_;
  AscendC::LocalTensor<int32_t> words_;
  AscendC::LocalTensor<int32_t> addend_;
};

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_SLOT_PAGE_H
