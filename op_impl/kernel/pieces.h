// Pieces of rows on their way into a sum. The next piece is fetched while the last one is used.
#ifndef MOE_COMM_KERNEL_PIECES_H
#define MOE_COMM_KERNEL_PIECES_H

#include <type_traits>

#include "kernel/moves.h"

namespace moe_comm {

// At most two pieces are fetched and not yet taken.
template <typename T>
class Pieces {
 public:
  __aicore__ inline void Init(uint32_t most_elements, AscendC::TPipe *pipe) {
    pipe->InitBuffer(in_, 2, most_elements * sizeof(T));
  }

  __aicore__ inline void Fetch(GM_ADDR source, uint32_t elements) {
    AscendC::GlobalTensor<T> from;
    from.SetGlobalBuffer(reinterpret_cast<__gm__ T *>(source));
    AscendC::LocalTensor<T> piece = in_.template AllocTensor<T>();
    const AscendC::DataCopyExtParams move(1, static_cast<uint32_t>(elements * sizeof(T)), 0, 0, 0);
    const AscendC::DataCopyPadExtParams<T> no_padding;
    AscendC::DataCopyPad(piece, from, move, no_padding);
    in_.EnQue(piece);
  }

  // Sets `target` to the piece fetched first, in fp32, times `factor`. A factor of 1 changes no bit.
  __aicore__ inline void Take(const AscendC::LocalTensor<float> &target, float factor, uint32_t elements) {
    const int32_t count = static_cast<int32_t>(elements);
    AscendC::LocalTensor<T> piece = in_.template DeQue<T>();
    if constexpr (std::is_same<T, float>::value) {
      AscendC::Muls(target, piece, factor, count);
    } else {
      AscendC::Cast(target, piece, AscendC::RoundMode::CAST_NONE, elements);
      AscendC::PipeBarrier<PIPE_V>();
      AscendC::Muls(target, target, factor, count);
    }
    in_.FreeTensor(piece);
    AscendC::PipeBarrier<PIPE_V>();
  }

 private:
  AscendC::TQue<AscendC::TPosition::VECIN, 2> in_;
};

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_PIECES_H
