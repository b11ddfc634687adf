#include "checks/combine_launch.h"
#include "contract/plan_layout.h"
#include "host/operators.h"

namespace moe_comm {

namespace sig = signatures::moe_prefill_combine;

std::vector<Output> InferMoePrefillCombine(const Arguments &in) { return InferCombine(sig::kName, PlanWords, in); }

void LaunchMoePrefillCombine(const Arguments &in, const std::vector<uint8_t *> &out, void *npu_stream) {
  LaunchCombine(sig::kName, PlanWords, moe_prefill_combine, in, out, npu_stream);
}

}  // namespace moe_comm
