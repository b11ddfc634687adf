// Prefill dispatch: many tokens, so what counts is the bytes. The work is split over the blocks by the rows to move,
// rows are loaded several at a time, and each batch is written in an order that begins at another rank on each rank.
#ifndef MOE_COMM_MOE_PREFILL_DISPATCH_H
#define MOE_COMM_MOE_PREFILL_DISPATCH_H

#include "kernel/balance.h"
#include "kernel/dispatch.h"

namespace moe_comm {

class PrefillDispatch : public Dispatch {
 public:
  __aicore__ inline void Init(const MoePrefillDispatchArguments &arguments, AscendC::TPipe *pipe) {
    Dispatch::Init(arguments, arguments.kept_plan, true, pipe);
    batch_tokens_ = arguments.batch_tokens;
    balance_.Init(&window, &routes, &live_, &placement, pipe);
    pipe->InitBuffer(order_buffer_, Routes::kTilePairs * sizeof(int32_t));
    pipe->InitBuffer(key_buffer_, Routes::kTilePairs * sizeof(int32_t));
    order_ = order_buffer_.Get<int32_t>();
    key_ = key_buffer_.Get<int32_t>();
  }

  __aicore__ inline void Process() {
    if (balance_.On()) {
      PlaceBalanced();
    } else if (Plan()) {
      Split();
      Place(begin_, end_, false);
    }
    Complete();
  }

 private:
  // Every block comes to every barrier, whatever has failed.
  __aicore__ inline void PlaceBalanced() {
    bool good = Plan();
    if (good && AscendC::GetBlockIdx() == 0) balance_.Derive(exchange.Number());
    good = failure.Barrier() && good;
    if (good) {
      balance_.Open();
      Split();
      Assign(begin_, end_);
    }
    good = failure.Barrier() && good;
    if (good) {
      flags.Publish(window.layout.handed, window.layout.helpers, exchange.Epoch());
      Place(begin_, end_, true);
      flags.Await(window.layout.handed, window.layout.helped, exchange.Epoch(),
                  kWaitHanded);
    }
    good = failure.Barrier() && good;
    if (good) balance_.Help(indices);
    brings_to = window.layout.moves;
    brought_by = window.layout.bringers;
  }

  // This block's tokens, begin_ .. end_, and the rows from which they go on.
  __aicore__ inline void Split() {
    const uint32_t block = static_cast<uint32_t>(AscendC::GetBlockIdx());
    const uint32_t blocks = static_cast<uint32_t>(AscendC::GetBlockNum());
    counting.LoadWeights();
    const Start start = StartOf(block);
    const uint32_t end = StartOf(block + 1).token;
    StoreStarts(block, start.token, end);
    next_rows.Begin(start.counted, Share(routes.TokenNum(), start.counted, blocks), start.token);
    begin_ = start.token;
    end_ = end;
  }

  // The tokens before `token`: those that the first `counted` blocks counted, and those after them.
  struct Start {
    uint32_t counted;
    uint32_t token;
  };

  // Where `block` starts if every block gets an equal share of the weight.
  __aicore__ inline Start StartOf(uint32_t block) {
    const uint32_t blocks = static_cast<uint32_t>(AscendC::GetBlockNum());
    const uint32_t token_num = routes.TokenNum();
    if (block == blocks) return {blocks, token_num};
    uint64_t total = 0;
    for (uint32_t b = 0; b < blocks; ++b) total += counting.WeightOf(b);
    const uint64_t target = total * block / blocks;
    uint64_t passed = 0;
    uint32_t counted = 0;
    while (counted < blocks && passed + counting.WeightOf(counted) < target) passed += counting.WeightOf(counted++);
    uint32_t token = Share(token_num, counted, blocks);
    while (token < token_num && passed < target) {
      routes.LoadTile(token, 1);
      passed += counting.Weight(0);
      ++token;
    }
    return {counted, token};
  }

  __aicore__ inline void StoreStarts(uint32_t block, uint32_t begin, uint32_t end) {
    const uint32_t blocks = static_cast<uint32_t>(AscendC::GetBlockNum());
    order_.SetValue(0, static_cast<int32_t>(begin));
    StorePlan(kPlanStarts + block, order_, 1);
    if (block + 1 == blocks) {
      order_.SetValue(0, static_cast<int32_t>(end));
      StorePlan(kPlanStarts + blocks, order_, 1);
    }
  }

  // The rows of all tokens, and what others move of them.
  __aicore__ inline void Assign(uint32_t begin, uint32_t end) {
    for (uint32_t first = begin; first < end; first += Routes::kTileTokens) {
      const uint32_t tokens = Min(Routes::kTileTokens, end - first);
      routes.LoadTile(first, tokens);
      next_rows.Assign(tokens, indices);
      StoreIndices(first, tokens);
      balance_.HandOver(first, tokens, indices);
    }
  }

  // `assigned`: the rows are in expand_idx, and some are not for this rank to move.
  __aicore__ inline void Place(uint32_t begin, uint32_t end, bool assigned) {
    const uint32_t columns = routes.Columns();
    const bool batches = batch_tokens_ > 0 && !placement.Quantised();  // 0: a row is longer than a buffer
    const uint32_t batch = batches ? batch_tokens_ : 1;
    const uint32_t tile = Routes::kTileTokens / batch * batch;
    for (uint32_t first = begin; first < end; first += tile) {
      const uint32_t tokens = Min(tile, end - first);
      routes.LoadTile(first, tokens);
      if (assigned) {
        LoadIndices(first, tokens);
        balance_.TakeOut(tokens, indices);
      } else {
        next_rows.Assign(tokens, indices);
        StoreIndices(first, tokens);
      }
      for (uint32_t token = 0; token < tokens; token += batch) {
        const uint32_t in_batch = Min(batch, tokens - token);
        Stagger(token, in_batch);
        if (batches) {
          placement.MoveBatch(first, token, in_batch, indices, order_, token * columns);
        } else {
          placement.MoveToken(first, token, indices);
        }
      }
      for (uint32_t i = 0; i < tokens * columns; ++i) {  // from pairs of the tile to pairs of the tensor
        const int32_t pair = order_.GetValue(i);
        if (pair >= 0) order_.SetValue(i, pair + static_cast<int32_t>(first * columns));
      }
      StorePlan(kPlanOrder + static_cast<uint64_t>(first) * columns, order_, tokens * columns);
    }
  }

  // Sorts the pairs of a batch by the distance of their destination from this rank, those without a row last.
  __aicore__ inline void Stagger(uint32_t token, uint32_t tokens) {
    const uint32_t begin = token * routes.Columns();
    const uint32_t end = (token + tokens) * routes.Columns();
    uint32_t placed = begin;
    for (uint32_t pair = begin; pair < end; ++pair) {
      if (indices.GetValue(pair) < 0) continue;
      const uint32_t destination = window.Owner(routes.SlotOfPair(pair));
      const int32_t distance =
          static_cast<int32_t>((destination + window.world_size - window.rank) % window.world_size);
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

  Balance balance_;
  uint32_t batch_tokens_;
  uint32_t begin_ = 0;
  uint32_t end_ = 0;
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
