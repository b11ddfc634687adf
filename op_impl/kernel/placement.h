// Direct placement: a token's row is loaded once and written to its final place in each destination's window.
#ifndef MOE_COMM_KERNEL_PLACEMENT_H
#define MOE_COMM_KERNEL_PLACEMENT_H

#include "contract/quant_mode.h"
#include "kernel/quantise.h"
#include "kernel/routes.h"
#include "kernel_arguments.h"

namespace moe_comm {

class Placement {
 public:
  __aicore__ inline void Init(const Window *window, const Routes *routes, const DispatchArguments &arguments,
                              AscendC::TPipe *pipe) {
    window_ = window;
    routes_ = routes;
    arguments_ = arguments;
    x_.SetGlobalBuffer(reinterpret_cast<__gm__ uint16_t *>(arguments.x));
    columns_ = routes->Columns();
    row_bytes_ = static_cast<uint32_t>(window->shape.row_bytes);
    buffer_bytes_ = arguments.row_buffer_bytes;
    if (Quantised()) {
      buffer_bytes_ = Min(buffer_bytes_, kCopyBytes);
      hidden_size_ = window->HiddenSize();
      quantiser_.Init(arguments.x, hidden_size_, window->dtype, arguments.smooth_kind != kNoSmooth, pipe);
      pipe->InitBuffer(scale_buffer_, kRowAlign);
      scale_ = scale_buffer_.Get<float>();
    }
    if (!Quantised() || window->shape.pooled_tokens > 0) pipe->InitBuffer(queue_, 2, buffer_bytes_);
  }

  __aicore__ inline bool Quantised() const { return arguments_.quant_mode == kDynamicInt8; }

  // That a row takes on its way, with its scale.
  __aicore__ inline uint64_t RowBytes() const {
    return Quantised() ? QuantisedRowBytes(hidden_size_) + sizeof(float) : static_cast<uint64_t>(row_bytes_);
  }

  // Copies row `token` to `offset` of this rank's region.
  __aicore__ inline void CopyRow(uint32_t token, uint64_t offset) {
    for (uint32_t at = 0; at < row_bytes_; at += buffer_bytes_) {
      const uint32_t bytes = Min(buffer_bytes_, row_bytes_ - at);
      AscendC::LocalTensor<uint16_t> piece = LoadRows(token, 1, at, bytes);
      Write(piece, window_->Own(offset) + at, bytes);
      queue_.FreeTensor(piece);
    }
  }

  // Moves row `token` of another rank's `x` to its row of `rank`, given at `index`. No own token is moved after it.
  __aicore__ inline void MoveOfOther(GM_ADDR x, uint32_t token, uint32_t rank, uint32_t smooth_row,
                                     const AscendC::LocalTensor<int32_t> &index) {
    of_other_ = true;
    rank_ = rank;
    smooth_row_ = smooth_row;
    columns_ = 1;
    x_.SetGlobalBuffer(reinterpret_cast<__gm__ uint16_t *>(x));
    if (Quantised()) quantiser_.SetSource(x);
    MoveToken(token, 0, index);
  }

  // Moves one token's row to all its places.
  __aicore__ inline void MoveToken(uint32_t first, uint32_t token, const AscendC::LocalTensor<int32_t> &indices) {
    bool placed = false;
    for (uint32_t column = 0; column < columns_; ++column) placed = placed || indices.GetValue(token * columns_ + column) >= 0;
    if (!placed) return;
    if (!Quantised()) {
      MoveWhole(first, token, indices);
    } else if (arguments_.smooth_kind != kSmoothPerExpert) {  // once per token, whatever K
      MoveQuantised(first, token, indices, 0, columns_, arguments_.scales);
    } else {
      for (uint32_t column = 0; column < columns_; ++column) {
        const uint64_t row = of_other_ ? smooth_row_ : routes_->SmoothRow(token, column);
        MoveQuantised(first, token, indices, column, column + 1,
                      arguments_.scales + row * hidden_size_ * sizeof(float));
      }
    }
  }

  // Moves whole rows of `tokens` tokens of the tile, in the order of `order` [tokens * columns]: pairs of the tile, or
  // -1.
  __aicore__ inline void MoveBatch(uint32_t first, uint32_t token, uint32_t tokens,
                                   const AscendC::LocalTensor<int32_t> &indices,
                                   const AscendC::LocalTensor<int32_t> &order, uint32_t order_begin) {
    if (order.GetValue(order_begin) < 0) return;  // the pairs with a row come first: there is none
    AscendC::LocalTensor<uint16_t> rows = LoadRows(first + token, tokens, 0, row_bytes_);
    for (uint32_t i = 0; i < tokens * columns_; ++i) {
      const int32_t pair = order.GetValue(order_begin + i);
      if (pair < 0) break;
      const uint32_t of_token = static_cast<uint32_t>(pair) / columns_;
      Write(rows[(of_token - token) * (row_bytes_ / sizeof(uint16_t))],
            RowAddress(static_cast<uint32_t>(pair), indices), row_bytes_);
    }
    queue_.FreeTensor(rows);
  }

 private:
  static constexpr uint32_t kCopyBytes = 8 * 1024;  // beside the buffers of the quantiser

  // In pieces where a buffer is smaller than a row. Rows move as 16-bit words whatever their dtype.
  __aicore__ inline void MoveWhole(uint32_t first, uint32_t token, const AscendC::LocalTensor<int32_t> &indices) {
    for (uint32_t offset = 0; offset < row_bytes_; offset += buffer_bytes_) {
      const uint32_t bytes = Min(buffer_bytes_, row_bytes_ - offset);
      AscendC::LocalTensor<uint16_t> piece = LoadRows(first + token, 1, offset, bytes);
      for (uint32_t pair = token * columns_; pair < (token + 1) * columns_; ++pair) {
        if (indices.GetValue(pair) >= 0) Write(piece, RowAddress(pair, indices) + offset, bytes);
      }
      queue_.FreeTensor(piece);
    }
  }

  // Quantises one token's row and writes it, with its scale, to the places of columns begin .. end.
  __aicore__ inline void MoveQuantised(uint32_t first, uint32_t token, const AscendC::LocalTensor<int32_t> &indices,
                                       uint32_t begin, uint32_t end, GM_ADDR smooth) {
    bool placed = false;
    for (uint32_t c = begin; c < end; ++c) placed = placed || indices.GetValue(token * columns_ + c) >= 0;
    if (!placed) return;
    scale_.SetValue(0, quantiser_.Begin(first + token, smooth));
    for (uint32_t offset = 0; offset < hidden_size_; offset += Quantiser::kTile) {
      const uint32_t count = Min(Quantiser::kTile, hidden_size_ - offset);
      AscendC::LocalTensor<int8_t> piece = quantiser_.Tile(offset, count);
      for (uint32_t c = begin; c < end; ++c) {
        const uint32_t pair = token * columns_ + c;
        const int32_t row = indices.GetValue(pair);
        if (row < 0) continue;
        Write(piece, Peer(pair, QuantisedRow(window_->layout, hidden_size_, static_cast<uint64_t>(row))) + offset,
              static_cast<uint32_t>(RoundUp(count, kRowAlign)));
      }
      quantiser_.Free(piece);
    }
    Sync<AscendC::HardEvent::S_MTE3>();
    for (uint32_t c = begin; c < end; ++c) {
      const uint32_t pair = token * columns_ + c;
      const int32_t row = indices.GetValue(pair);
      if (row >= 0) Write(scale_, Peer(pair, window_->layout.scales(static_cast<uint64_t>(row))), sizeof(float));
    }
    Sync<AscendC::HardEvent::MTE3_S>();
  }

  __aicore__ inline GM_ADDR Peer(uint32_t pair, uint64_t offset) const {
    return window_->Peer(of_other_ ? rank_ : window_->Owner(routes_->SlotOfPair(pair)), offset);
  }
  __aicore__ inline GM_ADDR RowAddress(uint32_t pair, const AscendC::LocalTensor<int32_t> &indices) const {
    return Peer(pair, window_->layout.rows(static_cast<uint64_t>(indices.GetValue(pair))));
  }

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

  template <typename T>
  __aicore__ inline void Write(const AscendC::LocalTensor<T> &piece, GM_ADDR target, uint32_t bytes) const {
    AscendC::GlobalTensor<T> to;
    to.SetGlobalBuffer(reinterpret_cast<__gm__ T *>(target));
    const AscendC::DataCopyExtParams move(1, bytes, 0, 0, 0);
    AscendC::DataCopyPad(to, piece, move);
  }

  const Window *window_;
  const Routes *routes_;
  DispatchArguments arguments_;
  AscendC::GlobalTensor<uint16_t> x_;
  uint32_t columns_;
  uint32_t row_bytes_;
  uint32_t buffer_bytes_;
  uint32_t hidden_size_ = 0;
  bool of_other_ = false;  // the row at hand is of another rank, goes to rank_, and has the smooth factors smooth_row_
  uint32_t rank_ = 0;
  uint64_t smooth_row_ = 0;
  Quantiser quantiser_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> scale_buffer_;
  AscendC::LocalTensor<float> scale_;
  AscendC::TQueBind<AscendC::TPosition::VECIN, AscendC::TPosition::VECOUT, 2> queue_;
};

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_PLACEMENT_H
