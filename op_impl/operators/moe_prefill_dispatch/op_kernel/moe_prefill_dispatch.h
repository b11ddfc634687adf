// Prefill dispatch has many tokens, so the bytes matter. The blocks share the work by the rows to move. They load
// several rows at a time, and write each batch in an order that begins at another rank on each rank.
#ifndef MOE_COMM_MOE_PREFILL_DISPATCH_H
#define MOE_COMM_MOE_PREFILL_DISPATCH_H

#include "kernel/dispatch.h"

namespace moe_comm {

class PrefillDispatch : private Dispatch {
 public:
  __aicore__ inline void Init(const MoePrefillDispatchArguments &arguments, AscendC::TPipe *pipe) {
    Dispatch::Init(arguments, arguments.kept_plan, true, pipe);
    batches_ = arguments.batch_tokens > 0 && !placement_.Quantised();  // 0: a row is longer than a buffer
    batch_ = batches_ ? arguments.batch_tokens : 1;
    pipe->InitBuffer(order_buffer_, Routes::kTilePairs * sizeof(int32_t));
    pipe->InitBuffer(key_buffer_, Routes::kTilePairs * sizeof(int32_t));
    order_ = order_buffer_.Get<int32_t>();
    key_ = key_buffer_.Get<int32_t>();
  }

  __aicore__ inline void Process() {
    const bool counted = Count();
    const bool fits = Exchange(counted);
    if (balance_.On()) {
      const bool placed = PlaceBalanced(fits);
      Complete(placed, balance_.Balanced());
      return;
    }
    if (fits) {
      const Span own = Split();
      Place(own, false);
    }
    Complete(fits, OwnDelivery(core_.window.layout));
  }

 private:
  // Every block joins every barrier, whatever has failed.
  __aicore__ inline bool PlaceBalanced(bool fits) {
    const WindowLayout &layout = core_.window.layout;
    if (fits && IsFirstBlock()) balance_.Derive(live_, exchange_.Number());
    bool good = core_.failure.Barrier() && fits;
    Span own = {0, 0};
    if (good) {
      balance_.Open();
      own = Split();
      HandOver(own);
    }
    good = core_.failure.Barrier() && good;
    if (good) {
      flags_.Publish(layout.handed, layout.helpers, exchange_.Epoch());
      Place(own, true);
      flags_.Await(layout.handed, layout.helped, exchange_.Epoch(), kWaitHanded);
    }
    good = core_.failure.Barrier() && good;
    if (good) balance_.Help(placement_);
    return fits;
  }

  // Returns the tokens of this block, an equal share of the weight. The tile then gives rows from the first of them on.
  __aicore__ inline Span Split() {
    counting_.LoadWeights();
    const Start start = StartOf(Block());
    const Span own = {start.token, StartOf(Block() + 1).token};
    StoreStarts(own);
    tile_.Begin(page_, start.counted, {Share(TokenNum(), start.counted, Blocks()), own.begin});
    return own;
  }

  // The tokens before `token` are those that the first `counted` blocks counted, and some after them.
  struct Start {
    uint32_t counted;
    uint32_t token;
  };

  // Where `block` starts if every block gets an equal share of the weight.
  __aicore__ inline Start StartOf(uint32_t block) {
    if (block == Blocks()) return {Blocks(), TokenNum()};
    uint64_t total = 0;
    for (uint32_t b = 0; b < Blocks(); ++b) total += counting_.WeightOf(b);
    const uint64_t target = total * block / Blocks();
    uint64_t passed = 0;
    uint32_t counted = 0;
    while (counted < Blocks() && passed + counting_.WeightOf(counted) < target) passed += counting_.WeightOf(counted++);
    Routes &routes = tile_.GetRoutes();
    uint32_t token = Share(TokenNum(), counted, Blocks());
    while (token < TokenNum() && passed < target) {
      routes.LoadTile(token, 1);
      passed += Counting::Weight(routes, 0);
      ++token;
    }
    return {counted, token};
  }

  __aicore__ inline void StoreStarts(Span own) {
    order_.SetValue(0, static_cast<int32_t>(own.begin));
    StorePlan(kPlanStarts + Block(), order_, 1);
    if (Block() + 1 == Blocks()) {
      order_.SetValue(0, static_cast<int32_t>(own.end));
      StorePlan(kPlanStarts + Blocks(), order_, 1);
    }
  }

  // Gives all tokens their rows, and hands over the rows that other ranks move.
  __aicore__ inline void HandOver(Span own) {
    for (uint32_t first = own.begin; first < own.end; first += Tile::kTokens) {
      tile_.Assign(page_, first, Min(Tile::kTokens, own.end - first));
      balance_.HandOver(tile_.GetRoutes(), placement_, first, tile_.Tokens(), tile_.Rows());
    }
  }

  // `handed_over`: the tokens have their rows, and other ranks move some of them.
  __aicore__ inline void Place(Span own, bool handed_over) {
    const uint32_t tile = Tile::kTokens / batch_ * batch_;
    for (uint32_t first = own.begin; first < own.end; first += tile) {
      const uint32_t tokens = Min(tile, own.end - first);
      if (handed_over) {
        tile_.Reload(first, tokens);
        balance_.TakeOut(tile_.GetRoutes(), tokens, tile_.Rows());
      } else {
        tile_.Assign(page_, first, tokens);
      }
      for (uint32_t token = 0; token < tokens; token += batch_) PlaceBatch(token, Min(batch_, tokens - token));
      StoreOrder();
    }
  }

  // Places `tokens` tokens of the tile from `token` on.
  __aicore__ inline void PlaceBatch(uint32_t token, uint32_t tokens) {
    Stagger(token, tokens);
    if (batches_) {
      placement_.MoveBatch(tile_.GetRoutes(), tile_.First(), token, tokens, tile_.Rows(), order_,
                           token * tile_.GetRoutes().Columns());
    } else {
      placement_.Move(placement_.RowOf(tile_.First() + token), tile_.PlacesOf(token));
    }
  }

  // Stores the order in the plan, as pairs of the tensor instead of pairs of the tile.
  __aicore__ inline void StoreOrder() {
    const uint32_t columns = tile_.GetRoutes().Columns();
    const uint32_t before = tile_.First() * columns;
    for (uint32_t i = 0; i < tile_.Tokens() * columns; ++i) {
      const int32_t pair = order_.GetValue(i);
      if (pair >= 0) order_.SetValue(i, pair + static_cast<int32_t>(before));
    }
    StorePlan(kPlanOrder + static_cast<uint64_t>(tile_.First()) * columns, order_, tile_.Tokens() * columns);
  }

  // Sorts the pairs of a batch by the distance of their destination from this rank. Pairs without a row come last.
  __aicore__ inline void Stagger(uint32_t token, uint32_t tokens) {
    const Routes &routes = tile_.GetRoutes();
    const Window &window = core_.window;
    const uint32_t begin = token * routes.Columns();
    const uint32_t end = (token + tokens) * routes.Columns();
    uint32_t placed = begin;
    for (uint32_t pair = begin; pair < end; ++pair) {
      if (tile_.Rows().GetValue(pair) < 0) continue;
      const uint32_t destination = window.Owner(routes.SlotOfPair(pair));
      const int32_t distance = static_cast<int32_t>((destination + window.world_size - window.rank) %
                                                    window.world_size);
      uint32_t place = placed++;
      for (; place > begin && key_.GetValue(place - 1) > distance; --place) {
        key_.SetValue(place, key_.GetValue(place - 1));
        order_.SetValue(place, order_.GetValue(place - 1));
      }
      key_.SetValue(place, distance);
      order_.SetValue(place, static_cast<int32_t>(pair));
    }
    for (; placed < end; ++placed) order_.SetValue(placed, kNotRouted);
  }

  bool batches_;
  uint32_t batch_;  // tokens whose rows are loaded at once
  AscendC::TBuf<AscendC::TPosition::VECCALC> order_buffer_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> key_buffer_;
  AscendC::LocalTensor<int32_t> order_;
  AscendC::LocalTensor<int32_t> key_;
};

__aicore__ inline void MoePrefillDispatch(const MoePrefillDispatchArguments &arguments) {
  AscendC::TPipe pipe;
  PrefillDispatch kernel;
  kernel.Init(arguments, &pipe);
  kernel.Process();
}

}  // namespace moe_comm

#endif  // MOE_COMM_MOE_PREFILL_DISPATCH_H
