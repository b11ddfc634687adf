// What the launches of both combine operators share: they take the same arguments and differ in the split of the work.
#ifndef MOE_COMM_CHECKS_COMBINE_LAUNCH_H
#define MOE_COMM_CHECKS_COMBINE_LAUNCH_H

#include "checks/dispatch_launch.h"

namespace moe_comm {

namespace combine = signatures::combine;

// Outputs y and control.
std::vector<Output> InferCombine(const Checker &check, PlanWordsOf plan_words);

// Checks what only the window itself can tell.
void CheckCombine(const Checker &check, const WindowLaunch &launch);

named::Dtype DtypeOf(const WindowLaunch &launch);
named::ResultDtype ResultDtypeOf(const Arguments &in, const WindowLaunch &launch);
named::TileElements TileElementsOf(const Arguments &in);
named::AlphaRank AlphaRankOf(const Arguments &in);

}  // namespace moe_comm

#endif  // MOE_COMM_CHECKS_COMBINE_LAUNCH_H
