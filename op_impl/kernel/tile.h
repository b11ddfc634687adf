// The tokens that a block works on, at most 32: where they go, and in which row.
#ifndef MOE_COMM_KERNEL_TILE_H
#define MOE_COMM_KERNEL_TILE_H

#include "kernel/next_rows.h"
#include "kernel/placement.h"

namespace moe_comm {

class Tile {
 public:
  static constexpr uint32_t kTokens = Routes::kTileTokens;

  __aicore__ inline void Init(Core &core, const LiveRanks *live, const DispatchArguments &arguments) {
    window_ = &core.window;
    expand_idx_ = arguments.expand_idx;
    physical_expert_ids_ = arguments.physical_expert_ids;
    core.pipe->InitBuffer(rows_buffer_, Routes::kTilePairs * sizeof(int32_t));
    core.pipe->InitBuffer(ids_buffer_, Routes::kTileTokens * kMaxTopK * sizeof(int32_t));
    routes_.Init(core, live, arguments);
    next_rows_.Init(core);
    rows_ = rows_buffer_.Get<int32_t>();
    ids_ = ids_buffer_.Get<int32_t>();
  }

  // Assign then gives the rows behind the tokens that the first `blocks` blocks counted, and behind those of `skipped`.
  __aicore__ inline void Begin(SlotPage &page, uint32_t blocks, Span skipped) {
    next_rows_.Begin(routes_, page, blocks, skipped);
  }

  // Turns to `tokens` tokens from `first` on, gives each of their pairs its row, and writes expand_idx and
  // physical_expert_ids.
  __aicore__ inline void Assign(SlotPage &page, uint32_t first, uint32_t tokens) {
    Turn(first, tokens);
    next_rows_.Assign(routes_, page, tokens, rows_);
    Store(expand_idx_ + Pairs(first, routes_.Columns()), rows_, tokens * routes_.Columns());
    for (uint32_t token = 0; token < tokens; ++token) {
      for (uint32_t k = 0; k < routes_.TopK(); ++k) {
        ids_.SetValue(token * routes_.TopK() + k, routes_.PhysicalId(token, k));
      }
    }
    Store(physical_expert_ids_ + Pairs(first, routes_.TopK()), ids_, tokens * routes_.TopK());
  }

  // Turns to tokens that Assign has given rows before, and loads these rows.
  __aicore__ inline void Reload(uint32_t first, uint32_t tokens) {
    Turn(first, tokens);
    Load(rows_, expand_idx_ + Pairs(first, routes_.Columns()), tokens * routes_.Columns());
  }

  __aicore__ inline uint32_t First() const { return first_; }
  __aicore__ inline uint32_t Tokens() const { return tokens_; }
  // The row of each pair (token, column), negative if it has none. A step may take pairs out.
  __aicore__ inline const AscendC::LocalTensor<int32_t> &Rows() const { return rows_; }
  __aicore__ inline Routes &GetRoutes() { return routes_; }
  __aicore__ inline const Routes &GetRoutes() const { return routes_; }
  __aicore__ inline TokenPlaces PlacesOf(uint32_t token) const { return TokenPlaces(window_, &routes_, token, rows_); }

 private:
  __aicore__ inline void Turn(uint32_t first, uint32_t tokens) {
    first_ = first;
    tokens_ = tokens;
    routes_.LoadTile(first, tokens);
  }
  static __aicore__ inline uint64_t Pairs(uint32_t first, uint32_t columns) {
    return static_cast<uint64_t>(first) * columns * sizeof(int32_t);
  }

  const Window *window_;
  GM_ADDR expand_idx_;
  GM_ADDR physical_expert_ids_;
  uint32_t first_ = 0;
  uint32_t tokens_ = 0;
  Routes routes_;
  NextRows next_rows_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> rows_buffer_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> ids_buffer_;
  AscendC::LocalTensor<int32_t> rows_;  // [tokens, columns]
  AscendC::LocalTensor<int32_t> ids_;
};

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_TILE_H
