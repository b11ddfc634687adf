// What the glue of both dispatch operators shares.
#ifndef MOE_COMM_GLUE_DISPATCH_GLUE_H
#define MOE_COMM_GLUE_DISPATCH_GLUE_H

#include "common/glue/window_host.h"
#include "op_signatures.h"

namespace moe_comm {

// Both operators take the same arguments in the same places.
namespace dispatch = signatures::moe_decode_dispatch;

// Shapes and dtypes; outputs expand_x, expand_idx, expert_token_nums.
std::vector<Output> InferDispatch(const char *op, const Arguments &in);

struct DispatchLaunch {
  WindowParameters window;
  uint8_t *control;
  uint32_t token_num;
  uint32_t top_k;
  uint32_t id_bytes;
  uint32_t mask_kind;
  uint32_t cumulative;
};

// What only the window itself can tell: limits, dtype and H, and that `window_rows` is its own.
DispatchLaunch CheckDispatch(const char *op, const Arguments &in, void *npu_stream);

// Of a code of dtype.h.
DataType RowType(uint64_t dtype);

// K, dimension 1 of `expert_ids`.
void CheckTopK(const Checker &check, size_t expert_ids);

// The window's own checks of dtype code and row length, for `argument` of shape [.., H].
void CheckRows(const Checker &check, size_t argument, const char *name, const WindowParameters &window);

// Throws the error that a kernel on the CPU has left in the window. On an NPU the kernel has not run yet, and its error
// waits for ExpertWindow.check.
void RaiseWindowError(void *npu_stream, uint8_t *control, const char *op);

}  // namespace moe_comm

#endif  // MOE_COMM_GLUE_DISPATCH_GLUE_H
