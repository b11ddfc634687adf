// Prefill dispatch: many tokens, so what counts is the bytes. The work is split over the blocks by the rows to move,
// rows are loaded several at a time, and each batch is written in an order that begins at another rank on each rank.
#include "kernel_operator.h"

#include "common/kernel/dispatch.h"

namespace {

class PrefillDispatch : public moe_comm::Dispatch {
 public:
  __aicore__ inline void Init(const moe_comm::DispatchArguments &arguments, uint32_t batch_tokens,
                              AscendC::TPipe *pipe) {
    Dispatch::Init(arguments, pipe);
    batch_tokens_ = batch_tokens;
    constexpr uint32_t kPairs = moe_comm::Routing::kTileTokens * moe_comm::kMaxTopK;
    pipe->InitBuffer(order_buffer_, kPairs * sizeof(int32_t));
    pipe->InitBuffer(key_buffer_, kPairs * sizeof(int32_t));
    order_ = order_buffer_.Get<int32_t>();
    key_ = key_buffer_.Get<int32_t>();
  }

  __aicore__ inline void Process() {
    if (Plan()) {
      const uint32_t block = static_cast<uint32_t>(AscendC::GetBlockIdx());
      const uint32_t end = FirstToken(block + 1);
      const uint32_t begin = FirstToken(block);  // last: it leaves the next rows as of `begin`
      StoreStarts(block, begin, end);
      Place(begin, end);
    }
    Complete();
  }

 private:
  // The first token of `block` if every block gets an equal share of the weight; next_rows_ becomes that token's.
  __aicore__ inline uint32_t FirstToken(uint32_t block) {
    const uint32_t blocks = static_cast<uint32_t>(AscendC::GetBlockNum());
    const uint32_t token_num = routing.TokenNum();
    if (block == blocks) return token_num;
    uint64_t total = 0;
    for (uint32_t b = 0; b < blocks; ++b) total += exchange.Weight(b);
    const uint64_t target = total * block / blocks;
    uint64_t passed = 0;
    uint32_t counted = 0;  // blocks of the count that lie wholly before the target
    while (counted < blocks && passed + exchange.Weight(counted) < target) passed += exchange.Weight(counted++);
    next_rows_ = exchange.NextRows(counted);
    uint32_t token = moe_comm::Share(token_num, counted, blocks);
    while (token < token_num && passed < target) {
      routing.LoadTile(token, 1);
      passed += exchange.CountToken(token, 0, next_rows_, false);
      ++token;
    }
    return token;
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

  __aicore__ inline void Place(uint32_t begin, uint32_t end) {
    const uint32_t top_k = routing.TopK();
    const bool whole_rows = batch_tokens_ > 0;  // 0: a row is longer than a buffer
    const uint32_t batch = whole_rows ? batch_tokens_ : 1;
    const uint32_t tile = moe_comm::Routing::kTileTokens / batch * batch;
    for (uint32_t first = begin; first < end; first += tile) {
      const uint32_t tokens = moe_comm::Min(tile, end - first);
      routing.LoadTile(first, tokens);
      for (uint32_t token = 0; token < tokens; ++token) placement.AssignRows(routing, token, next_rows_, indices);
      StoreIndices(first, tokens);
      for (uint32_t token = 0; token < tokens; token += batch) {
        const uint32_t in_batch = moe_comm::Min(batch, tokens - token);
        Stagger(token, in_batch);
        if (whole_rows) {
          placement.MoveBatch(routing, first, token, in_batch, indices, order_, token * top_k);
        } else {
          placement.MoveToken(routing, first, token, indices);
        }
      }
      for (uint32_t i = 0; i < tokens * top_k; ++i) {  // from pairs of the tile to pairs of the tensor
        const int32_t pair = order_.GetValue(i);
        if (pair >= 0) order_.SetValue(i, pair + static_cast<int32_t>(first * top_k));
      }
      StorePlan(moe_comm::kPlanOrder + static_cast<uint64_t>(first) * top_k, order_, tokens * top_k);
    }
  }

  // Sorts the pairs of a batch by the distance of their destination from this rank, those without a row last.
  __aicore__ inline void Stagger(uint32_t token, uint32_t tokens) {
    const uint32_t top_k = routing.TopK();
    const uint32_t begin = token * top_k;
    uint32_t routed = begin;
    for (uint32_t pair = begin; pair < begin + tokens * top_k; ++pair) {
      const int32_t expert = routing.Expert(pair / top_k, pair % top_k);
      if (expert < 0) continue;
      const uint32_t destination = static_cast<uint32_t>(expert) / window.experts_per_rank;
      const int32_t distance =
          static_cast<int32_t>((destination + window.world_size - window.rank) % window.world_size);
      uint32_t place = routed++;
      for (; place > begin && key_.GetValue(place - 1) > distance; --place) {
        key_.SetValue(place, key_.GetValue(place - 1));
        order_.SetValue(place, order_.GetValue(place - 1));
      }
      key_.SetValue(place, distance);
      order_.SetValue(place, static_cast<int32_t>(pair));
    }
    for (; routed < begin + tokens * top_k; ++routed) order_.SetValue(routed, moe_comm::kNotRouted);
  }

  uint32_t batch_tokens_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> order_buffer_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> key_buffer_;
  AscendC::LocalTensor<int32_t> order_;
  AscendC::LocalTensor<int32_t> key_;
  AscendC::LocalTensor<int32_t> next_rows_;
};

}  // namespace

extern "C" __global__ __aicore__ void moe_prefill_dispatch(GM_ADDR x, GM_ADDR expert_ids, GM_ADDR active_mask,
                                                           GM_ADDR window, GM_ADDR expand_idx,
                                                           GM_ADDR expert_token_nums, GM_ADDR plan,
                                                           uint32_t token_num, uint32_t top_k, uint32_t id_bytes,
                                                           uint32_t mask_kind, uint32_t cumulative,
                                                           uint32_t row_buffer_bytes, uint32_t batch_tokens) {
  KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIV_1_0);
  AscendC::TPipe pipe;
  const moe_comm::DispatchArguments arguments = {
      x,      {expert_ids, active_mask, token_num, top_k, id_bytes, mask_kind},
      window, expand_idx, expert_token_nums, plan, cumulative != 0, row_buffer_bytes};
  PrefillDispatch kernel;
  kernel.Init(arguments, batch_tokens, &pipe);
  kernel.Process();
}
