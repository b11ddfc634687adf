// Moves small tables between global memory and the unified buffer. A move is complete when the call returns.
#ifndef MOE_COMM_KERNEL_MOVES_H
#define MOE_COMM_KERNEL_MOVES_H

#include "kernel_operator.h"

namespace moe_comm {

template <AscendC::HardEvent event>
__aicore__ inline void Sync() {
  const int32_t id = static_cast<int32_t>(GetTPipePtr()->FetchEventID(event));
  AscendC::SetFlag<event>(id);
  AscendC::WaitFlag<event>(id);
}

__aicore__ inline uint32_t Min(uint32_t a, uint32_t b) { return a < b ? a : b; }

constexpr uint32_t kWordPitch = 4;  // 64-bit words of the unified buffer per piece of one word: 32 bytes

// Loads `blocks` pieces of `count` elements, `pitch` bytes apart in global memory. Each begins at a 32-byte line of
// `target`.
template <typename T>
__aicore__ inline void LoadStrided(const AscendC::LocalTensor<T> &target, GM_ADDR source, uint32_t count,
                                   uint32_t blocks, uint64_t pitch) {
  AscendC::GlobalTensor<T> from;
  from.SetGlobalBuffer(reinterpret_cast<__gm__ T *>(source));
  const uint32_t bytes = count * sizeof(T);
  const AscendC::DataCopyExtParams move(static_cast<uint16_t>(blocks), bytes, static_cast<uint32_t>(pitch - bytes), 0,
                                        0);
  const AscendC::DataCopyPadExtParams<T> no_padding;
  Sync<AscendC::HardEvent::S_MTE2>();  // scalar reads of the old content are over
  AscendC::DataCopyPad(target, from, move, no_padding);
  Sync<AscendC::HardEvent::MTE2_S>();
}

template <typename T>
__aicore__ inline void Load(const AscendC::LocalTensor<T> &target, GM_ADDR source, uint32_t count) {
  LoadStrided(target, source, count, 1, count * sizeof(T));
}

// Stores what scalar writes have left in `source`. `source` may be written again afterwards.
template <typename T>
__aicore__ inline void Store(GM_ADDR target, const AscendC::LocalTensor<T> &source, uint32_t count) {
  AscendC::GlobalTensor<T> to;
  to.SetGlobalBuffer(reinterpret_cast<__gm__ T *>(target));
  const AscendC::DataCopyExtParams move(1, static_cast<uint32_t>(count * sizeof(T)), 0, 0, 0);
  Sync<AscendC::HardEvent::S_MTE3>();
  AscendC::DataCopyPad(to, source, move);
  Sync<AscendC::HardEvent::MTE3_S>();
}

// Fills `table` with zeros, between scalar accesses.
__aicore__ inline void Clear(const AscendC::LocalTensor<int32_t> &table, uint32_t count) {
  Sync<AscendC::HardEvent::S_V>();
  AscendC::Duplicate(table, static_cast<int32_t>(0), static_cast<int32_t>(count));
  Sync<AscendC::HardEvent::V_S>();
}

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_MOVES_H
