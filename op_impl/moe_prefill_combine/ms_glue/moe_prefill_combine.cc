#include "common/combine_tiling.h"
#include "common/glue/combine_glue.h"
#include "common/glue/launch.h"
#include "common/glue/ops.h"
#include "common/plan_layout.h"

namespace moe_comm {

namespace sig = signatures::moe_prefill_combine;

namespace {
const CombineSignature kSignature = {sig::kName,          sig::kArgumentNames, sig::expand_x,
                                     sig::expert_ids,     sig::expert_scales,  sig::expand_idx,
                                     sig::window_control, sig::shared_expert_x};
}  // namespace

std::vector<Output> InferMoePrefillCombine(const Arguments &in) {
  std::vector<Output> outputs = InferCombine(kSignature, in);
  const Checker check(sig::kName, in, sig::kArgumentNames);
  check.Dtype(sig::plan, {DataType::kInt32});
  check.Rank(sig::plan, 1);
  const Shape &ids = in[sig::expert_ids].shape;
  if (ids[0] != kUnknown && ids[1] != kUnknown) {
    check.Dimension(sig::plan, 0, static_cast<int64_t>(PlanWords(ids[0], ids[1])), "the plan of these T and K");
  }
  outputs.push_back({in[sig::window_control].shape, DataType::kInt32});
  return outputs;
}

void LaunchMoePrefillCombine(const Arguments &in, const std::vector<uint8_t *> &out, void *npu_stream) {
  InferMoePrefillCombine(in);
  const CombineLaunch launch = CheckCombine(kSignature, in, npu_stream);
  const LaunchTimer timer(npu_stream, launch.control, kCombineCalls);
  LaunchKernel(npu_stream, launch.window.blocks, sig::kName, moe_prefill_combine, in[sig::expand_x].data,
               in[sig::expert_ids].data, in[sig::expert_scales].data, in[sig::expand_idx].data, in[sig::plan].data,
               in[sig::shared_expert_x].data, launch.control, out[sig::out_y], launch.token_num, launch.top_k,
               launch.id_bytes, static_cast<uint32_t>(launch.window.dtype), TileElements(in[sig::expand_x].shape[1]));
  RaiseWindowError(npu_stream, launch.control, sig::kName);
}

}  // namespace moe_comm
