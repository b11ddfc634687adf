#include "common/combine_tiling.h"
#include "common/glue/combine_glue.h"
#include "common/glue/launch.h"
#include "common/glue/ops.h"

namespace moe_comm {

namespace sig = signatures::moe_decode_combine;

namespace {
const CombineSignature kSignature = {sig::kName,          sig::kArgumentNames, sig::expand_x,
                                     sig::expert_ids,     sig::expert_scales,  sig::expand_idx,
                                     sig::window_control, sig::shared_expert_x};
}  // namespace

std::vector<Output> InferMoeDecodeCombine(const Arguments &in) {
  std::vector<Output> outputs = InferCombine(kSignature, in);
  outputs.push_back({in[sig::window_control].shape, DataType::kInt32});
  return outputs;
}

void LaunchMoeDecodeCombine(const Arguments &in, const std::vector<uint8_t *> &out, void *npu_stream) {
  const CombineLaunch launch = CheckCombine(kSignature, in, npu_stream);
  const LaunchTimer timer(npu_stream, launch.control, kCombineCalls);
  LaunchKernel(npu_stream, launch.window.blocks, sig::kName, moe_decode_combine, in[sig::expand_x].data,
               in[sig::expert_ids].data, in[sig::expert_scales].data, in[sig::expand_idx].data,
               in[sig::shared_expert_x].data, launch.control, out[sig::out_y], launch.token_num, launch.top_k,
               launch.id_bytes, static_cast<uint32_t>(launch.window.dtype), TileElements(in[sig::expand_x].shape[1]));
  RaiseWindowError(npu_stream, launch.control, sig::kName);
}

}  // namespace moe_comm
