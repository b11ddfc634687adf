#include "checks/dispatch_launch.h"
#include "contract/plan_layout.h"
#include "host/operators.h"
#include "operators/moe_prefill_dispatch/op_host/moe_prefill_dispatch_tiling.h"

namespace moe_comm {

namespace sig = signatures::moe_prefill_dispatch;

std::vector<Output> InferMoePrefillDispatch(const Arguments &in) {
  const std::vector<Output> outputs = InferDispatch(sig::kName, PlanWords, in);
  const Checker check(sig::kName, in, sig::kArgumentNames);
  if (in[sig::kept_plan].given) {
    check.Dtype(sig::kept_plan, {DataType::kInt32});
    check.Rank(sig::kept_plan, 1);
    check.Dimension(sig::kept_plan, 0, outputs[sig::out_plan].shape[0], "the words of a plan for T and K");
  }
  return outputs;
}

void LaunchMoePrefillDispatch(const Arguments &in, const std::vector<uint8_t *> &out, void *npu_stream) {
  InferMoePrefillDispatch(in);  // every dimension is known now
  WindowLaunch launch(in[sig::window_control], WindowLaunch::kDispatch, npu_stream, sig::kName);
  const DispatchScalars scalars = CheckDispatch(sig::kName, PlanWords, in, launch);
  const uint32_t columns = scalars.top_k + static_cast<uint32_t>(launch.Window().shared_experts);
  const prefill_dispatch::Tiling tiling = prefill_dispatch::Split(launch.Window().shape.row_bytes, columns);
  LaunchDispatch(sig::kName, &launch, scalars, moe_prefill_dispatch, in, out, npu_stream,
                 std::make_tuple(in[sig::kept_plan].data), tiling.row_buffer_bytes, tiling.batch_tokens);
}

}  // namespace moe_comm
