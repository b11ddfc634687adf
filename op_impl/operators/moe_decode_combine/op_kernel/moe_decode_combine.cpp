// Decode combine: few tokens, so the blocks share the tiles of all rows: one token's row can occupy many blocks.
#include "kernel_operator.h"

#include "contract/dtype.h"
#include "kernel/combine.h"

namespace {

template <typename T>
__aicore__ inline void Process(const moe_comm::CombineArguments &arguments) {
  AscendC::TPipe pipe;
  moe_comm::Combine<T> combine;
  combine.Init(arguments, moe_comm::kPlanHeaderWords, &pipe);
  if (combine.Open()) {
    const uint64_t tiles = static_cast<uint64_t>(arguments.token_num) * combine.reduction.TilesPerToken();
    const uint64_t block = static_cast<uint64_t>(AscendC::GetBlockIdx());
    const uint64_t blocks = static_cast<uint64_t>(AscendC::GetBlockNum());
    combine.reduction.Reduce(tiles * block / blocks, tiles * (block + 1) / blocks);
  }
  combine.Close();
}

}  // namespace

extern "C" __global__ __aicore__ void moe_decode_combine(
    GM_ADDR expand_x, GM_ADDR expert_ids, GM_ADDR expert_scales, GM_ADDR expand_idx, GM_ADDR plan,
    GM_ADDR shared_expert_x, GM_ADDR residual_x, GM_ADDR ori_x, GM_ADDR const_expert_alpha_1,
    GM_ADDR const_expert_alpha_2, GM_ADDR const_expert_v, GM_ADDR window, GM_ADDR y, uint32_t token_num,
    uint32_t top_k, uint32_t id_bytes, uint32_t dtype, uint32_t out_dtype, uint32_t tile_elements,
    uint32_t zero_expert_num, uint32_t copy_expert_num, uint32_t const_expert_num, uint32_t alpha_rank) {
  KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIV_1_0);
  const moe_comm::CombineArguments arguments = {
      expand_x,
      expert_ids,
      expert_scales,
      expand_idx,
      plan,
      shared_expert_x,
      residual_x,
      ori_x,
      {const_expert_alpha_1, const_expert_alpha_2, const_expert_v, alpha_rank},
      window,
      y,
      token_num,
      top_k,
      id_bytes,
      out_dtype,
      tile_elements,
      {zero_expert_num, copy_expert_num, const_expert_num}};
  if (dtype == moe_comm::kFloat32) Process<float>(arguments);
  if (dtype == moe_comm::kFloat16) Process<half>(arguments);
  if (dtype == moe_comm::kBfloat16) Process<bfloat16_t>(arguments);
}
