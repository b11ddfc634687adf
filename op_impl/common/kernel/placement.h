// Direct placement: a token's row is loaded once and written to its final place in each destination's window.
#ifndef MOE_COMM_KERNEL_PLACEMENT_H
#define MOE_COMM_KERNEL_PLACEMENT_H

#include "routing.h"

namespace moe_comm {

class Placement {
 public:
  // Rows move as 16-bit words whatever their dtype. `buffer_bytes`: of each of the two row buffers, from the tiling.
  __aicore__ inline void Init(const Window *window, GM_ADDR x, uint32_t top_k, uint32_t buffer_bytes,
                              AscendC::TPipe *pipe) {
    window_ = window;
    x_.SetGlobalBuffer(reinterpret_cast<__gm__ uint16_t *>(x));
    top_k_ = top_k;
    row_bytes_ = static_cast<uint32_t>(window->shape.row_bytes);
    buffer_bytes_ = buffer_bytes;
    pipe->InitBuffer(queue_, 2, buffer_bytes);
  }

  // Takes the next row of each expert that `token` of the tile goes to; the result goes to `indices` [.., K].
  __aicore__ inline void AssignRows(const Routing &routing, uint32_t token,
                                    const AscendC::LocalTensor<int32_t> &next_rows,
                                    const AscendC::LocalTensor<int32_t> &indices) const {
    for (uint32_t k = 0; k < top_k_; ++k) {
      const int32_t expert = routing.Expert(token, k);
      int32_t row = kNotRouted;
      if (expert >= 0) {
        row = next_rows.GetValue(expert);
        next_rows.SetValue(expert, row + 1);
      }
      indices.SetValue(token * top_k_ + k, row);
    }
  }

  // Moves one token's row, in pieces where a buffer is smaller than a row.
  __aicore__ inline void MoveToken(const Routing &routing, uint32_t first, uint32_t token,
                                   const AscendC::LocalTensor<int32_t> &indices) {
    bool routed = false;
    for (uint32_t k = 0; k < top_k_; ++k) routed = routed || indices.GetValue(token * top_k_ + k) >= 0;
    if (!routed) return;
    for (uint32_t offset = 0; offset < row_bytes_; offset += buffer_bytes_) {
      const uint32_t bytes = Min(buffer_bytes_, row_bytes_ - offset);
      AscendC::LocalTensor<uint16_t> piece = LoadRows(first + token, 1, offset, bytes);
      for (uint32_t k = 0; k < top_k_; ++k) {
        const int32_t row = indices.GetValue(token * top_k_ + k);
        if (row >= 0) Write(piece, routing.Expert(token, k), row, offset, bytes);
      }
      queue_.FreeTensor(piece);
    }
  }

  // Moves whole rows of `tokens` tokens of the tile, in the order of `order` [tokens * K]: pairs of the tile, or -1.
  __aicore__ inline void MoveBatch(const Routing &routing, uint32_t first, uint32_t token, uint32_t tokens,
                                   const AscendC::LocalTensor<int32_t> &indices,
                                   const AscendC::LocalTensor<int32_t> &order, uint32_t order_begin) {
    if (order.GetValue(order_begin) < 0) return;  // the routed pairs come first: there is none
    AscendC::LocalTensor<uint16_t> rows = LoadRows(first + token, tokens, 0, row_bytes_);
    for (uint32_t i = 0; i < tokens * top_k_; ++i) {
      const int32_t pair = order.GetValue(order_begin + i);
      if (pair < 0) break;
      const uint32_t of_token = static_cast<uint32_t>(pair) / top_k_;
      const uint32_t k = static_cast<uint32_t>(pair) % top_k_;
      Write(rows[(of_token - token) * (row_bytes_ / sizeof(uint16_t))], routing.Expert(of_token, k),
            indices.GetValue(pair), 0, row_bytes_);
    }
    queue_.FreeTensor(rows);
  }

 private:
  __aicore__ inline AscendC::LocalTensor<uint16_t> LoadRows(uint32_t token, uint32_t tokens, uint32_t offset,
                                                            uint32_t bytes) {
    AscendC::LocalTensor<uint16_t> rows = queue_.template AllocTensor<uint16_t>();
    const AscendC::DataCopyExtParams move(1, tokens * bytes, 0, 0, 0);  // a row is whole 32-byte blocks: no gaps
    const AscendC::DataCopyPadExtParams<uint16_t> no_padding;
    const uint64_t from = (static_cast<uint64_t>(token) * row_bytes_ + offset) / sizeof(uint16_t);
    AscendC::DataCopyPad(rows, x_[from], move, no_padding);
    queue_.EnQue(rows);
    return queue_.template DeQue<uint16_t>();
  }

  __aicore__ inline void Write(const AscendC::LocalTensor<uint16_t> &piece, int32_t expert, int32_t row,
                               uint32_t offset, uint32_t bytes) const {
    const uint32_t destination = static_cast<uint32_t>(expert) / window_->experts_per_rank;
    AscendC::GlobalTensor<uint16_t> to;
    to.SetGlobalBuffer(reinterpret_cast<__gm__ uint16_t *>(
        window_->Peer(destination, RowOffset(window_->shape, static_cast<uint64_t>(row)) + offset)));
    const AscendC::DataCopyExtParams move(1, bytes, 0, 0, 0);
    AscendC::DataCopyPad(to, piece, move);
  }

  const Window *window_;
  AscendC::GlobalTensor<uint16_t> x_;
  uint32_t top_k_;
  uint32_t row_bytes_;
  uint32_t buffer_bytes_;
  AscendC::TQueBind<AscendC::TPosition::VECIN, AscendC::TPosition::VECOUT, 2> queue_;
};

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_PLACEMENT_H
