// Prefill dispatch: many tokens, so what counts is the bytes. The work is split over the blocks by the rows to move,
// rows are loaded several at a time, and each batch is written in an order that begins at another rank on each rank.
#include "kernel_operator.h"

#include "kernel/balance.h"
#include "kernel/dispatch.h"

namespace {

class PrefillDispatch : public moe_comm::Dispatch {
 public:
  __aicore__ inline void Init(const moe_comm::DispatchArguments &arguments, uint32_t batch_tokens,
                              AscendC::TPipe *pipe) {
    Dispatch::Init(arguments, true, pipe);
    batch_tokens_ = batch_tokens;
    balance_.Init(&window, &routes, &live_, &placement, pipe);
    pipe->InitBuffer(order_buffer_, moe_comm::Routes::kTilePairs * sizeof(int32_t));
    pipe->InitBuffer(key_buffer_, moe_comm::Routes::kTilePairs * sizeof(int32_t));
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
      flags.Publish(moe_comm::HandedOffset(window.shape), moe_comm::HelpersOffset(window.shape), exchange.Epoch());
      Place(begin_, end_, true);
      flags.Await(moe_comm::HandedOffset(window.shape), moe_comm::HelpedOffset(window.shape), exchange.Epoch(),
                  moe_comm::kWaitHanded);
    }
    good = failure.Barrier() && good;
    if (good) balance_.Help(indices);
    brings_to = moe_comm::MovesOffset(window.shape);
    brought_by = moe_comm::BringersOffset(window.shape);
  }

  // This block's tokens, begin_ .. end_, and the rows from which they go on.
  __aicore__ inline void Split() {
    const uint32_t block = static_cast<uint32_t>(AscendC::GetBlockIdx());
    const uint32_t blocks = static_cast<uint32_t>(AscendC::GetBlockNum());
    counting.LoadWeights();
    const Start start = StartOf(block);
    const uint32_t end = StartOf(block + 1).token;
    StoreStarts(block, start.token, end);
    next_rows.Begin(start.counted, moe_comm::Share(routes.TokenNum(), start.counted, blocks), start.token);
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
    uint32_t token = moe_comm::Share(token_num, counted, blocks);
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
    StorePlan(moe_comm::kPlanStarts + block, order_, 1);
    if (block + 1 == blocks) {
      order_.SetValue(0, static_cast<int32_t>(end));
      StorePlan(moe_comm::kPlanStarts + blocks, order_, 1);
    }
  }

  // The rows of all tokens, and what others move of them.
  __aicore__ inline void Assign(uint32_t begin, uint32_t end) {
    for (uint32_t first = begin; first < end; first += moe_comm::Routes::kTileTokens) {
      const uint32_t tokens = moe_comm::Min(moe_comm::Routes::kTileTokens, end - first);
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
    const uint32_t tile = moe_comm::Routes::kTileTokens / batch * batch;
    for (uint32_t first = begin; first < end; first += tile) {
      const uint32_t tokens = moe_comm::Min(tile, end - first);
      routes.LoadTile(first, tokens);
      if (assigned) {
        LoadIndices(first, tokens);
        balance_.TakeOut(tokens, indices);
      } else {
        next_rows.Assign(tokens, indices);
        StoreIndices(first, tokens);
      }
      for (uint32_t token = 0; token < tokens; token += batch) {
        const uint32_t in_batch = moe_comm::Min(batch, tokens - token);
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
      StorePlan(moe_comm::kPlanOrder + static_cast<uint64_t>(first) * columns, order_, tokens * columns);
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
    for (; placed < end; ++placed) order_.SetValue(placed, moe_comm::kNotRouted);
  }

  moe_comm::Balance balance_;
  uint32_t batch_tokens_;
  uint32_t begin_ = 0;
  uint32_t end_ = 0;
  AscendC::TBuf<AscendC::TPosition::VECCALC> order_buffer_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> key_buffer_;
  AscendC::LocalTensor<int32_t> order_;
  AscendC::LocalTensor<int32_t> key_;
};

}  // namespace

extern "C" __global__ __aicore__ void moe_prefill_dispatch(GM_ADDR x, GM_ADDR expert_ids, GM_ADDR active_mask,
                                                           GM_ADDR scales, GM_ADDR expert_map, GM_ADDR replica_counts,
                                                           GM_ADDR rank_mask, GM_ADDR window, GM_ADDR expand_idx,
                                                           GM_ADDR expert_token_nums, GM_ADDR plan,
                                                           GM_ADDR physical_ids, GM_ADDR kept_plan, uint32_t token_num,
                                                           uint32_t top_k, uint32_t id_bytes, uint32_t mask_kind,
                                                           uint32_t quant_mode,
                                                           uint32_t smooth_kind, uint32_t logical_expert_num,
                                                           uint32_t max_replicas, uint32_t replica_policy,
                                                           uint32_t special_expert_num, uint32_t cumulative,
                                                           uint32_t row_buffer_bytes, uint32_t batch_tokens) {
  KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIV_1_0);
  AscendC::TPipe pipe;
  const moe_comm::DispatchArguments arguments = {
      {{expert_ids, active_mask, token_num, top_k, id_bytes, mask_kind},
       {expert_map, replica_counts, logical_expert_num, max_replicas, replica_policy},
       special_expert_num},
      {x, scales, quant_mode, smooth_kind, row_buffer_bytes},
      rank_mask,
      window,
      expand_idx,
      expert_token_nums,
      physical_ids,
      plan,
      kept_plan,
      cumulative != 0};
  PrefillDispatch kernel;
  kernel.Init(arguments, batch_tokens, &pipe);
  kernel.Process();
}
