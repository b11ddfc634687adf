#include "checks/dispatch_launch.h"
#include "contract/plan_layout.h"
#include "host/operators.h"
#include "operators/moe_decode_dispatch/op_host/moe_decode_dispatch_tiling.h"

namespace moe_comm {

namespace sig = signatures::moe_decode_dispatch;

std::vector<Output> InferMoeDecodeDispatch(const Arguments &in) {
  return InferDispatch(Checker(sig::kName, in, sig::kArgumentNames), PlanHeaderWords);
}

void LaunchMoeDecodeDispatch(const Arguments &in, const std::vector<uint8_t *> &out, void *npu_stream) {
  WindowLaunch launch(in[sig::window_control], WindowLaunch::kDispatch, npu_stream, sig::kName);
  CheckDispatch(Checker(sig::kName, in, sig::kArgumentNames), launch);
  const named::RowBufferBytes row_buffer(decode_dispatch::RowBufferBytes(launch.Window().shape.row_bytes));
  launch.Run(MoeDecodeDispatchOf(in, out, launch.Base(), MaskKindOf(in), SmoothKindOf(in), SpecialExpertNumOf(in),
                                 row_buffer));
}

}  // namespace moe_comm
