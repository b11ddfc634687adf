#include "common/glue/dispatch_glue.h"
#include "common/glue/launch.h"
#include "common/glue/ops.h"
#include "common/plan_layout.h"
#include "moe_decode_dispatch/op_host/moe_decode_dispatch_tiling.h"

namespace moe_comm {

namespace sig = signatures::moe_decode_dispatch;

std::vector<Output> InferMoeDecodeDispatch(const Arguments &in) {
  std::vector<Output> outputs = InferDispatch(sig::kName, in);
  outputs.push_back({{kPlanHeaderWords}, DataType::kInt32});
  outputs.push_back({in[sig::window_control].shape, DataType::kInt32});
  return outputs;
}

void LaunchMoeDecodeDispatch(const Arguments &in, const std::vector<uint8_t *> &out, void *npu_stream) {
  const DispatchLaunch launch = CheckDispatch(sig::kName, in, npu_stream);
  const LaunchTimer timer(npu_stream, launch.control, kDispatchCalls);
  LaunchKernel(npu_stream, launch.window.blocks, sig::kName, moe_decode_dispatch, in[sig::x].data,
               in[sig::expert_ids].data, in[sig::x_active_mask].data, launch.control, out[sig::out_expand_idx],
               out[sig::out_expert_token_nums], out[sig::out_plan], launch.token_num, launch.top_k, launch.id_bytes,
               launch.mask_kind, launch.cumulative, decode_dispatch::RowBufferBytes(launch.window.shape.row_bytes));
  RaiseWindowError(npu_stream, launch.control, sig::kName);
}

}  // namespace moe_comm
