#include "checks/combine_launch.h"
#include "contract/plan_layout.h"
#include "host/operators.h"

namespace moe_comm {

namespace sig = signatures::moe_prefill_combine;

std::vector<Output> InferMoePrefillCombine(const Arguments &in) {
  return InferCombine(Checker(sig::kName, in, sig::kArgumentNames), PlanWords);
}

void LaunchMoePrefillCombine(const Arguments &in, const std::vector<uint8_t *> &out, void *npu_stream) {
  WindowLaunch launch(in[sig::window_control], WindowLaunch::kCombine, npu_stream, sig::kName);
  CheckCombine(Checker(sig::kName, in, sig::kArgumentNames), launch);
  launch.Run(MoePrefillCombineOf(in, out, launch.Base(), DtypeOf(launch), ResultDtypeOf(in, launch), TileElementsOf(in),
                                 AlphaRankOf(in)));
}

}  // namespace moe_comm
