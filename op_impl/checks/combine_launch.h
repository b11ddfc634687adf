// The launch of both combine operators: they take the same arguments and differ in the split of the work alone.
#ifndef MOE_COMM_CHECKS_COMBINE_LAUNCH_H
#define MOE_COMM_CHECKS_COMBINE_LAUNCH_H

#include "checks/dispatch_launch.h"
#include "contract/kernel_entries.h"

namespace moe_comm {

// Both operators take the same arguments in the same places.
namespace combine = signatures::moe_decode_combine;

// Outputs y and control.
std::vector<Output> InferCombine(const char *op, PlanWordsOf plan_words, const Arguments &in);

using CombineKernel = decltype(&moe_decode_combine);
void LaunchCombine(const char *op, PlanWordsOf plan_words, CombineKernel kernel, const Arguments &in,
                   const std::vector<uint8_t *> &out, void *npu_stream);

}  // namespace moe_comm

#endif  // MOE_COMM_CHECKS_COMBINE_LAUNCH_H
