// Decode dispatch: few tokens, so what counts is the number of one-way latencies: counts, then rows.
#include "kernel_operator.h"

#include "kernel/balance.h"
#include "kernel/dispatch.h"

namespace {

class DecodeDispatch : public moe_comm::Dispatch {
 public:
  __aicore__ inline void Init(const moe_comm::DispatchArguments &arguments, AscendC::TPipe *pipe) {
    Dispatch::Init(arguments, false, pipe);
    balance_.Init(&window, &routes, &live_, nullptr, pipe);
  }

  __aicore__ inline void Process() {
    if (Plan()) {
      if (balance_.On()) FindBringers();
      Place();
    }
    Complete();
  }

 private:
  // Ranks that are in prefill may bring rows of others. This one moves its own.
  __aicore__ inline void FindBringers() {
    if (AscendC::GetBlockIdx() == 0) balance_.DeriveBringers(exchange.Number());
    brings_to = moe_comm::MovesOffset(window.shape);
    brought_by = moe_comm::BringersOffset(window.shape);
  }

  // Each block places the tokens that it has counted.
  __aicore__ inline void Place() {
    const uint32_t block = static_cast<uint32_t>(AscendC::GetBlockIdx());
    const uint32_t blocks = static_cast<uint32_t>(AscendC::GetBlockNum());
    const uint32_t begin = moe_comm::Share(routes.TokenNum(), block, blocks);
    const uint32_t end = moe_comm::Share(routes.TokenNum(), block + 1, blocks);
    next_rows.Begin(block, begin, begin);
    for (uint32_t first = begin; first < end; first += moe_comm::Routes::kTileTokens) {
      const uint32_t tokens = moe_comm::Min(moe_comm::Routes::kTileTokens, end - first);
      routes.LoadTile(first, tokens);
      next_rows.Assign(tokens, indices);
      for (uint32_t token = 0; token < tokens; ++token) placement.MoveToken(first, token, indices);
      StoreIndices(first, tokens);
    }
  }

  moe_comm::Balance balance_;
};

}  // namespace

extern "C" __global__ __aicore__ void moe_decode_dispatch(GM_ADDR x, GM_ADDR expert_ids, GM_ADDR active_mask,
                                                          GM_ADDR scales, GM_ADDR expert_map, GM_ADDR replica_counts,
                                                          GM_ADDR rank_mask, GM_ADDR window, GM_ADDR expand_idx,
                                                          GM_ADDR expert_token_nums, GM_ADDR plan,
                                                          GM_ADDR physical_ids, uint32_t token_num, uint32_t top_k,
                                                          uint32_t id_bytes, uint32_t mask_kind, uint32_t quant_mode,
                                                          uint32_t smooth_kind, uint32_t logical_expert_num,
                                                          uint32_t max_replicas, uint32_t replica_policy,
                                                          uint32_t special_expert_num, uint32_t cumulative,
                                                          uint32_t row_buffer_bytes) {
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
      nullptr,
      cumulative != 0};
  DecodeDispatch kernel;
  kernel.Init(arguments, &pipe);
  kernel.Process();
}
