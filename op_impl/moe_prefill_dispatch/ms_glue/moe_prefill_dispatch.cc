#include "common/glue/dispatch_glue.h"
#include "common/glue/ops.h"
#include "common/plan_layout.h"
#include "moe_prefill_dispatch/op_host/moe_prefill_dispatch_tiling.h"

namespace moe_comm {

namespace sig = signatures::moe_prefill_dispatch;

std::vector<Output> InferMoePrefillDispatch(const Arguments &in) { return InferDispatch(sig::kName, PlanWords, in); }

void LaunchMoePrefillDispatch(const Arguments &in, const std::vector<uint8_t *> &out, void *npu_stream) {
  const DispatchLaunch launch = CheckDispatch(sig::kName, PlanWords, in, npu_stream);
  const uint32_t columns = launch.scalars.top_k + static_cast<uint32_t>(launch.window.shared_experts);
  const prefill_dispatch::Tiling tiling = prefill_dispatch::Split(launch.window.shape.row_bytes, columns);
  LaunchDispatch(sig::kName, launch, moe_prefill_dispatch, in, out, npu_stream, tiling.row_buffer_bytes,
                 tiling.batch_tokens);
}

}  // namespace moe_comm
