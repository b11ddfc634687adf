#include "common/glue/dispatch_glue.h"
#include "common/glue/ops.h"
#include "common/plan_layout.h"
#include "moe_decode_dispatch/op_host/moe_decode_dispatch_tiling.h"

namespace moe_comm {

namespace sig = signatures::moe_decode_dispatch;

std::vector<Output> InferMoeDecodeDispatch(const Arguments &in) { return InferDispatch(sig::kName, PlanHeaderWords, in); }

void LaunchMoeDecodeDispatch(const Arguments &in, const std::vector<uint8_t *> &out, void *npu_stream) {
  const DispatchLaunch launch = CheckDispatch(sig::kName, PlanHeaderWords, in, npu_stream);
  LaunchDispatch(sig::kName, launch, moe_decode_dispatch, in, out, npu_stream, std::make_tuple(),
                 decode_dispatch::RowBufferBytes(launch.window.shape.row_bytes));
}

}  // namespace moe_comm
