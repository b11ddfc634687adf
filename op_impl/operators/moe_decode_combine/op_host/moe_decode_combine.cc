#include "checks/combine_launch.h"
#include "contract/plan_layout.h"
#include "host/operators.h"

namespace moe_comm {

namespace sig = signatures::moe_decode_combine;

std::vector<Output> InferMoeDecodeCombine(const Arguments &in) { return InferCombine(sig::kName, PlanHeaderWords, in); }

void LaunchMoeDecodeCombine(const Arguments &in, const std::vector<uint8_t *> &out, void *npu_stream) {
  LaunchCombine(sig::kName, PlanHeaderWords, moe_decode_combine, in, out, npu_stream);
}

}  // namespace moe_comm
