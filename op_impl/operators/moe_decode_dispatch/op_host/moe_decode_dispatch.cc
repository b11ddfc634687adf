#include "checks/dispatch_launch.h"
#include "contract/plan_layout.h"
#include "host/operators.h"
#include "operators/moe_decode_dispatch/op_host/moe_decode_dispatch_tiling.h"

namespace moe_comm {

namespace sig = signatures::moe_decode_dispatch;

std::vector<Output> InferMoeDecodeDispatch(const Arguments &in) { return InferDispatch(sig::kName, PlanHeaderWords, in); }

void LaunchMoeDecodeDispatch(const Arguments &in, const std::vector<uint8_t *> &out, void *npu_stream) {
  WindowLaunch launch(in[sig::window_control], WindowLaunch::kDispatch, npu_stream, sig::kName);
  const DispatchScalars scalars = CheckDispatch(sig::kName, PlanHeaderWords, in, launch);
  LaunchDispatch(sig::kName, &launch, scalars, moe_decode_dispatch, in, out, npu_stream, std::make_tuple(),
                 decode_dispatch::RowBufferBytes(launch.Window().shape.row_bytes));
}

}  // namespace moe_comm
