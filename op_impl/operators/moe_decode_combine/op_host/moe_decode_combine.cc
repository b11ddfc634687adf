#include "checks/combine_launch.h"
#include "contract/plan_layout.h"
#include "host/operators.h"

namespace moe_comm {

namespace sig = signatures::moe_decode_combine;

std::vector<Output> InferMoeDecodeCombine(const Arguments &in) {
  return InferCombine(Checker(sig::kName, in, sig::kArgumentNames), PlanHeaderWords);
}

void LaunchMoeDecodeCombine(const Arguments &in, const std::vector<uint8_t *> &out, void *npu_stream) {
  WindowLaunch launch(in[sig::window_control], WindowLaunch::kCombine, npu_stream, sig::kName);
  CheckCombine(Checker(sig::kName, in, sig::kArgumentNames), launch);
  launch.Run(MoeDecodeCombineOf(in, out, launch.Base(), DtypeOf(launch), ResultDtypeOf(in, launch), TileElementsOf(in),
                                AlphaRankOf(in)));
}

}  // namespace moe_comm
