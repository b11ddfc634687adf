// Prefill combine: many tokens, split over the blocks as dispatch's plan says, by the rows to read and not by tokens.
#include "kernel_operator.h"

#include "common/dtype.h"
#include "common/kernel/combine.h"
#include "common/plan_layout.h"

namespace {

template <typename T>
class PrefillCombine {
 public:
  __aicore__ inline void Process(const moe_comm::CombineArguments &arguments, GM_ADDR plan) {
    AscendC::TPipe pipe;
    combine_.Init(arguments, &pipe);
    pipe.InitBuffer(plan_buffer_, moe_comm::kPlanOrder * sizeof(int32_t));
    plan_ = plan_buffer_.Get<int32_t>();
    moe_comm::Load(plan_, plan, moe_comm::kPlanOrder);
    if (!combine_.failure.Failed()) CheckPlan(arguments);
    if (combine_.Open()) {
      const uint32_t block = static_cast<uint32_t>(AscendC::GetBlockIdx());
      const uint64_t tiles = combine_.reduction.TilesPerToken();
      combine_.reduction.Reduce(FirstToken(arguments, block) * tiles, FirstToken(arguments, block + 1) * tiles);
    }
    AscendC::PipeBarrier<PIPE_ALL>();
  }

 private:
  __aicore__ inline void CheckPlan(const moe_comm::CombineArguments &arguments) {
    const uint64_t epoch = static_cast<uint32_t>(plan_.GetValue(moe_comm::kPlanEpochLow)) |
                           static_cast<uint64_t>(static_cast<uint32_t>(plan_.GetValue(moe_comm::kPlanEpochHigh)))
                               << 32;
    const uint32_t tokens = static_cast<uint32_t>(plan_.GetValue(moe_comm::kPlanTokens));
    const uint32_t top_k = static_cast<uint32_t>(plan_.GetValue(moe_comm::kPlanTopK));
    if (epoch == combine_.window.epoch && tokens == arguments.token_num && top_k == arguments.top_k) return;
    combine_.failure.Record(moe_comm::kPlanMismatch, moe_comm::kReadInput, combine_.window.epoch, 1,
                            static_cast<int64_t>(epoch), tokens, top_k,
                            static_cast<int64_t>(combine_.window.epoch));
  }

  __aicore__ inline uint64_t FirstToken(const moe_comm::CombineArguments &arguments, uint32_t block) const {
    const uint32_t blocks = static_cast<uint32_t>(AscendC::GetBlockNum());
    if (plan_.GetValue(moe_comm::kPlanBlocks) != static_cast<int32_t>(blocks)) {
      return moe_comm::Share(arguments.token_num, block, blocks);  // launched on other cores than the dispatch
    }
    return static_cast<uint64_t>(plan_.GetValue(moe_comm::kPlanStarts + block));
  }

  moe_comm::Combine<T> combine_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> plan_buffer_;
  AscendC::LocalTensor<int32_t> plan_;
};

template <typename T>
__aicore__ inline void Process(const moe_comm::CombineArguments &arguments, GM_ADDR plan) {
  PrefillCombine<T> kernel;
  kernel.Process(arguments, plan);
}

}  // namespace

extern "C" __global__ __aicore__ void moe_prefill_combine(GM_ADDR expand_x, GM_ADDR expert_ids, GM_ADDR expert_scales,
                                                          GM_ADDR expand_idx, GM_ADDR plan, GM_ADDR shared_expert_x,
                                                          GM_ADDR window, GM_ADDR y, uint32_t token_num,
                                                          uint32_t top_k, uint32_t id_bytes, uint32_t dtype,
                                                          uint32_t tile_elements) {
  KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIV_1_0);
  const moe_comm::CombineArguments arguments = {expand_x, expert_ids, expert_scales, expand_idx, shared_expert_x, window,
                                                y,        token_num,  top_k,         id_bytes,   tile_elements};
  if (dtype == moe_comm::kFloat32) Process<float>(arguments, plan);
  if (dtype == moe_comm::kFloat16) Process<half>(arguments, plan);
  if (dtype == moe_comm::kBfloat16) Process<bfloat16_t>(arguments, plan);
}
