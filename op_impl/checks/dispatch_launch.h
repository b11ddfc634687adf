// What the launches of both dispatch operators share: checks, and what the kernels get beside the arguments.
#ifndef MOE_COMM_CHECKS_DISPATCH_LAUNCH_H
#define MOE_COMM_CHECKS_DISPATCH_LAUNCH_H

#include "checks/checker.h"
#include "host/window_launch.h"
#include "kernel_entries.h"
#include "op_signatures.h"

namespace moe_comm {

namespace dispatch = signatures::dispatch;

// How long the plan of T and its columns is.
using PlanWordsOf = uint64_t (*)(uint64_t token_num, uint64_t columns);

// Shapes and dtypes of all outputs.
std::vector<Output> InferDispatch(const Checker &check, PlanWordsOf plan_words);

// Checks what only the window itself can tell: limits, dtype and H, and that `window_rows` is its own.
void CheckDispatch(const Checker &check, const WindowLaunch &launch);

named::MaskKind MaskKindOf(const Arguments &in);
named::SmoothKind SmoothKindOf(const Arguments &in);
named::SpecialExpertNum SpecialExpertNumOf(const Arguments &in);

// K, dimension 1 of `expert_ids`.
void CheckTopK(const Checker &check, size_t expert_ids);

// The window's own checks of dtype code and row length, for `argument` of shape [.., H].
void CheckRows(const Checker &check, size_t argument, const char *name, const WindowInfo &window);

}  // namespace moe_comm

#endif  // MOE_COMM_CHECKS_DISPATCH_LAUNCH_H
