// The launch of both dispatch operators: prefill takes one argument more, its last, and they split the work another way.
#ifndef MOE_COMM_CHECKS_DISPATCH_LAUNCH_H
#define MOE_COMM_CHECKS_DISPATCH_LAUNCH_H

#include <tuple>

#include "checks/checker.h"
#include "host/launch.h"
#include "host/window_launch.h"
#include "op_signatures.h"

namespace moe_comm {

// Both operators have these arguments in the same places.
namespace dispatch = signatures::moe_decode_dispatch;

// How long the plan of T and its columns is.
using PlanWordsOf = uint64_t (*)(uint64_t token_num, uint64_t columns);

// Shapes and dtypes of all outputs.
std::vector<Output> InferDispatch(const char *op, PlanWordsOf plan_words, const Arguments &in);

// The scalar arguments of the kernels.
struct DispatchScalars {
  uint32_t token_num;
  uint32_t top_k;
  uint32_t id_bytes;
  uint32_t mask_kind;
  uint32_t quant_mode;
  uint32_t smooth_kind;
  uint32_t logical_expert_num;
  uint32_t max_replicas;
  uint32_t replica_policy;
  uint32_t special_expert_num;
  uint32_t cumulative;
};

// Checks what only the window itself can tell: limits, dtype and H, and that `window_rows` is its own.
DispatchScalars CheckDispatch(const char *op, PlanWordsOf plan_words, const Arguments &in, const WindowLaunch &launch);

// Of a code of dtype.h.
DataType RowType(uint64_t dtype);

// K, dimension 1 of `expert_ids`.
void CheckTopK(const Checker &check, size_t expert_ids);

// The window's own checks of dtype code and row length, for `argument` of shape [.., H].
void CheckRows(const Checker &check, size_t argument, const char *name, const WindowParameters &window);

// Launches `kernel`, which takes `own` tensors beside those of both, and last its `tiling`.
template <typename Kernel, typename... Tensors, typename... Tiling>
void LaunchDispatch(const char *op, WindowLaunch *launch, const DispatchScalars &s, Kernel kernel, const Arguments &in,
                    const std::vector<uint8_t *> &out, void *npu_stream, const std::tuple<Tensors...> &own,
                    Tiling... tiling) {
  std::apply([&](Tensors... tensors) {
    LaunchKernel(npu_stream, launch->Window().blocks, op, kernel, in[dispatch::x].data, in[dispatch::expert_ids].data,
                 in[dispatch::x_active_mask].data, in[dispatch::scales].data,
                 in[dispatch::logical_to_physical_map].data, in[dispatch::logical_replica_count].data,
                 in[dispatch::rank_mask].data, launch->Base(),
                 out[dispatch::out_expand_idx], out[dispatch::out_expert_token_nums], out[dispatch::out_plan],
                 out[dispatch::out_physical_expert_ids], tensors..., s.token_num, s.top_k, s.id_bytes, s.mask_kind,
                 s.quant_mode, s.smooth_kind, s.logical_expert_num, s.max_replicas, s.replica_policy,
                 s.special_expert_num, s.cumulative, tiling...);
  }, own);
  launch->Finish();
}

}  // namespace moe_comm

#endif  // MOE_COMM_CHECKS_DISPATCH_LAUNCH_H
