#include "checks/dispatch_launch.h"
#include "contract/plan_layout.h"
#include "host/operators.h"
#include "operators/moe_prefill_dispatch/op_host/moe_prefill_dispatch_tiling.h"

namespace moe_comm {

namespace sig = signatures::moe_prefill_dispatch;

std::vector<Output> InferMoePrefillDispatch(const Arguments &in) {
  const Checker check(sig::kName, in, sig::kArgumentNames);
  const std::vector<Output> outputs = InferDispatch(check, PlanWords);
  if (in[sig::kept_plan].given) {
    check.Dtype(sig::kept_plan, {DataType::kInt32});
    check.Rank(sig::kept_plan, 1);
    check.Dimension(sig::kept_plan, 0, outputs[sig::out_plan].shape[0], "the words of a plan for T and K");
  }
  return outputs;
}

void LaunchMoePrefillDispatch(const Arguments &in, const std::vector<uint8_t *> &out, void *npu_stream) {
  WindowLaunch launch(in[sig::window_control], WindowLaunch::kDispatch, npu_stream, sig::kName);
  CheckDispatch(Checker(sig::kName, in, sig::kArgumentNames), launch);
  const WindowInfo &window = launch.Window();
  const uint64_t columns = in[sig::expert_ids].shape[1] + window[kSharedExpertNum];
  const prefill_dispatch::Tiling tiling = prefill_dispatch::Split(window.shape.row_bytes,
                                                                  static_cast<uint32_t>(columns));
  launch.Run(MoePrefillDispatchOf(in, out, launch.Base(), MaskKindOf(in), SmoothKindOf(in), SpecialExpertNumOf(in),
                                  named::RowBufferBytes(tiling.row_buffer_bytes),
                                  named::BatchTokens(tiling.batch_tokens)));
}

}  // namespace moe_comm
