// Direct placement: a row is loaded once and written to each of its final places in the destinations' windows.
#ifndef MOE_COMM_KERNEL_PLACEMENT_H
#define MOE_COMM_KERNEL_PLACEMENT_H

#include "contract/quant_mode.h"
#include "kernel/quantise.h"
#include "kernel/routes.h"
#include "kernel_arguments.h"

namespace moe_comm {

// The places of a token of the tile, one for each column that has a row.
class TokenPlaces {
 public:
  __aicore__ inline TokenPlaces(const Window *window, const Routes *routes, uint32_t token,
                                const AscendC::LocalTensor<int32_t> &indices)
      : window_(window), routes_(routes), token_(token), indices_(indices) {}

  __aicore__ inline uint32_t Count() const { return routes_->Columns(); }
  __aicore__ inline bool Has(uint32_t column) const { return indices_.GetValue(Pair(column)) >= 0; }
  __aicore__ inline uint64_t Row(uint32_t column) const {
    return static_cast<uint64_t>(indices_.GetValue(Pair(column)));
  }
  __aicore__ inline uint32_t Rank(uint32_t column) const { return window_->Owner(routes_->SlotOfPair(Pair(column))); }
  __aicore__ inline uint64_t SmoothRow(uint32_t column) const { return routes_->SmoothRow(token_, column); }

 private:
  __aicore__ inline uint32_t Pair(uint32_t column) const { return token_ * routes_->Columns() + column; }

  const Window *window_;
  const Routes *routes_;
  uint32_t token_;
  const AscendC::LocalTensor<int32_t> &indices_;
};

// The place of a row that this rank moves for another rank.
class OnePlace {
 public:
  __aicore__ inline OnePlace(uint32_t rank, uint64_t row, uint64_t smooth_row)
      : rank_(rank), row_(row), smooth_row_(smooth_row) {}

  __aicore__ inline uint32_t Count() const { return 1; }
  __aicore__ inline bool Has(uint32_t) const { return true; }
  __aicore__ inline uint64_t Row(uint32_t) const { return row_; }
  __aicore__ inline uint32_t Rank(uint32_t) const { return rank_; }
  __aicore__ inline uint64_t SmoothRow(uint32_t) const { return smooth_row_; }

 private:
  uint32_t rank_;
  uint64_t row_;
  uint64_t smooth_row_;
};

class Placement {
 public:
  __aicore__ inline void Init(Core &core, const DispatchArguments &arguments) {
    window_ = &core.window;
    x_ = arguments.x;
    smooth_ = arguments.scales;
    smooth_kind_ = arguments.smooth_kind;
    quantised_ = arguments.quant_mode == kDynamicInt8;
    row_bytes_ = static_cast<uint32_t>(window_->shape.row_bytes);
    buffer_bytes_ = arguments.row_buffer_bytes;
    if (quantised_) {
      buffer_bytes_ = Min(buffer_bytes_, kCopyBytes);
      hidden_size_ = window_->HiddenSize();
      quantiser_.Init(hidden_size_, window_->dtype, smooth_kind_ != kNoSmooth, core.pipe);
      core.pipe->InitBuffer(scale_buffer_, kRowAlign);
      scale_ = scale_buffer_.Get<float>();
    }
    if (!quantised_ || window_->shape.pooled_tokens > 0) core.pipe->InitBuffer(queue_, 2, buffer_bytes_);
  }

  __aicore__ inline bool Quantised() const { return quantised_; }

  // The bytes that are moved for a row, with its scale.
  __aicore__ inline uint64_t RowBytes() const {
    return quantised_ ? QuantisedRowBytes(hidden_size_) + sizeof(float) : static_cast<uint64_t>(row_bytes_);
  }

  // Row `token` of this rank's x.
  __aicore__ inline GM_ADDR RowOf(uint32_t token) const { return RowOf(x_, token); }
  // Row `token` of a tensor or a part [.., H] of the window's dtype.
  __aicore__ inline GM_ADDR RowOf(GM_ADDR rows, uint32_t token) const {
    return rows + static_cast<uint64_t>(token) * row_bytes_;
  }

  // Copies a row unchanged.
  __aicore__ inline void CopyRow(GM_ADDR row, GM_ADDR target) {
    for (uint32_t at = 0; at < row_bytes_; at += buffer_bytes_) {
      const uint32_t bytes = Min(buffer_bytes_, row_bytes_ - at);
      AscendC::LocalTensor<uint16_t> piece = LoadPiece(row + at, bytes);
      Write(piece, target + at, bytes);
      queue_.FreeTensor(piece);
    }
  }

  // Moves the row at `row` to all its places.
  template <typename Places>
  __aicore__ inline void Move(GM_ADDR row, const Places &places) {
    if (!Any(places, 0, places.Count())) return;
    if (!quantised_) {
      MoveWhole(row, places);
    } else if (smooth_kind_ != kSmoothPerExpert) {  // once per token, whatever K
      MoveQuantised(row, places, 0, places.Count(), smooth_);
    } else {
      for (uint32_t column = 0; column < places.Count(); ++column) {
        MoveQuantised(row, places, column, column + 1,
                      smooth_ + places.SmoothRow(column) * hidden_size_ * sizeof(float));
      }
    }
  }

  // Moves whole rows of `tokens` tokens of the tile, which begins at token `first` of x. `order` [tokens * columns]
  // lists the pairs of the tile in the order of the moves, then -1.
  __aicore__ inline void MoveBatch(const Routes &routes, uint32_t first, uint32_t token, uint32_t tokens,
                                   const AscendC::LocalTensor<int32_t> &indices,
                                   const AscendC::LocalTensor<int32_t> &order, uint32_t order_begin) {
    const uint32_t columns = routes.Columns();
    if (order.GetValue(order_begin) < 0) return;  // pairs with a row come first, so none has one
    AscendC::LocalTensor<uint16_t> rows = LoadPiece(RowOf(first + token), tokens * row_bytes_);
    for (uint32_t i = 0; i < tokens * columns; ++i) {
      const int32_t pair = order.GetValue(order_begin + i);
      if (pair < 0) break;
      const uint32_t of_token = static_cast<uint32_t>(pair) / columns;
      const uint32_t rank = window_->Owner(routes.SlotOfPair(static_cast<uint32_t>(pair)));
      const uint64_t row = static_cast<uint64_t>(indices.GetValue(static_cast<uint32_t>(pair)));
      Write(rows[(of_token - token) * (row_bytes_ / sizeof(uint16_t))], window_->Peer(rank, window_->layout.rows(row)),
            row_bytes_);
    }
    queue_.FreeTensor(rows);
  }

 private:
  static constexpr uint32_t kCopyBytes = 8 * 1024;  // beside the buffers of the quantiser

  template <typename Places>
  __aicore__ inline bool Any(const Places &places, uint32_t begin, uint32_t end) const {
    bool any = false;
    for (uint32_t column = begin; column < end; ++column) any = any || places.Has(column);
    return any;
  }

  // Moves a row in pieces if it is longer than a buffer.
  template <typename Places>
  __aicore__ inline void MoveWhole(GM_ADDR row, const Places &places) {
    for (uint32_t offset = 0; offset < row_bytes_; offset += buffer_bytes_) {
      const uint32_t bytes = Min(buffer_bytes_, row_bytes_ - offset);
      AscendC::LocalTensor<uint16_t> piece = LoadPiece(row + offset, bytes);
      for (uint32_t column = 0; column < places.Count(); ++column) {
        if (!places.Has(column)) continue;
        const uint64_t at = window_->layout.rows(places.Row(column));
        Write(piece, window_->Peer(places.Rank(column), at) + offset, bytes);
      }
      queue_.FreeTensor(piece);
    }
  }

  // Quantises the row and writes it, with its scale, to the places of columns begin .. end.
  template <typename Places>
  __aicore__ inline void MoveQuantised(GM_ADDR row, const Places &places, uint32_t begin, uint32_t end,
                                       GM_ADDR smooth) {
    if (!Any(places, begin, end)) return;
    scale_.SetValue(0, quantiser_.Begin(row, smooth));
    for (uint32_t offset = 0; offset < hidden_size_; offset += Quantiser::kTile) {
      const uint32_t count = Min(Quantiser::kTile, hidden_size_ - offset);
      AscendC::LocalTensor<int8_t> piece = quantiser_.Tile(offset, count);
      for (uint32_t column = begin; column < end; ++column) {
        if (!places.Has(column)) continue;
        const uint64_t at = QuantisedRow(window_->layout, hidden_size_, places.Row(column));
        Write(piece, window_->Peer(places.Rank(column), at) + offset, static_cast<uint32_t>(RoundUp(count, kRowAlign)));
      }
      quantiser_.Free(piece);
    }
    Sync<AscendC::HardEvent::S_MTE3>();
    for (uint32_t column = begin; column < end; ++column) {
      if (!places.Has(column)) continue;
      Write(scale_, window_->Peer(places.Rank(column), window_->layout.scales(places.Row(column))), sizeof(float));
    }
    Sync<AscendC::HardEvent::MTE3_S>();
  }

  // Rows move as 16-bit words whatever their dtype. A row is whole 32-byte blocks, so there are no gaps between rows.
  __aicore__ inline AscendC::LocalTensor<uint16_t> LoadPiece(GM_ADDR from, uint32_t bytes) {
    AscendC::GlobalTensor<uint16_t> source;
    source.SetGlobalBuffer(reinterpret_cast<__gm__ uint16_t *>(from));
    AscendC::LocalTensor<uint16_t> piece = queue_.template AllocTensor<uint16_t>();
    const AscendC::DataCopyExtParams move(1, bytes, 0, 0, 0);
    const AscendC::DataCopyPadExtParams<uint16_t> no_padding;
    AscendC::DataCopyPad(piece, source, move, no_padding);
    queue_.EnQue(piece);
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
  GM_ADDR x_;
  GM_ADDR smooth_;
  uint32_t smooth_kind_;
  bool quantised_;
  uint32_t row_bytes_;
  uint32_t buffer_bytes_;
  uint32_t hidden_size_ = 0;
  Quantiser quantiser_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> scale_buffer_;
  AscendC::LocalTensor<float> scale_;
  AscendC::TQueBind<AscendC::TPosition::VECIN, AscendC::TPosition::VECOUT, 2> queue_;
};

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_PLACEMENT_H
