#include "common/glue/dispatch_glue.h"

#include "common/dtype.h"
#include "common/mask_kind.h"

namespace moe_comm {

DataType RowType(uint64_t dtype) {
  static const DataType types[kDtypeCount] = {DataType::kFloat32, DataType::kFloat16, DataType::kBfloat16};
  return types[dtype];
}

void CheckTopK(const Checker &check, size_t expert_ids) {
  const int64_t top_k = check[expert_ids].shape[1];
  if (top_k == kUnknown || (top_k >= 1 && top_k <= static_cast<int64_t>(kMaxTopK))) return;
  check.Fail("K, dimension 1 of 'expert_ids', must be 1 to " + std::to_string(kMaxTopK) + ", but got " +
             std::to_string(top_k) + ".");
}

std::vector<Output> InferDispatch(const char *op, const Arguments &in) {
  const Checker check(op, in, dispatch::kArgumentNames);
  check.Dtype(dispatch::x, {DataType::kBfloat16, DataType::kFloat16, DataType::kFloat32});
  check.Dtype(dispatch::expert_ids, {DataType::kInt32, DataType::kInt64});
  check.SameDtype(dispatch::x, dispatch::window_rows);
  check.Dtype(dispatch::window_control, {DataType::kInt32});
  check.Rank(dispatch::x, 2);
  check.Rank(dispatch::expert_ids, 2);
  check.Rank(dispatch::window_rows, 2);
  check.Rank(dispatch::window_control, 1);
  const int64_t token_num = in[dispatch::x].shape[0];
  const int64_t top_k = in[dispatch::expert_ids].shape[1];
  check.Dimension(dispatch::x, 1, in[dispatch::window_rows].shape[1], "the window's H");
  check.Dimension(dispatch::expert_ids, 0, token_num, "T");
  CheckTopK(check, dispatch::expert_ids);
  if (in[dispatch::x_active_mask].given) {
    const Shape &mask = in[dispatch::x_active_mask].shape;
    check.Dtype(dispatch::x_active_mask, {DataType::kBool});
    if (mask.size() != 1 && mask.size() != 2) {
      check.Fail("'x_active_mask' must be [T] or [T, K], but its shape is " + ToString(mask) + ".");
    }
    check.Dimension(dispatch::x_active_mask, 0, token_num, "T");
    if (mask.size() == 2) check.Dimension(dispatch::x_active_mask, 1, top_k, "K");
  }
  check.ScalarOneOf(dispatch::expert_token_nums_type, {0, 1});
  const int64_t experts = in[dispatch::local_expert_num].scalar;
  if (experts < 1) check.Fail("'local_expert_num' must be at least 1, but got " + std::to_string(experts) + ".");
  return {{in[dispatch::window_rows].shape, in[dispatch::window_rows].dtype},
          {in[dispatch::expert_ids].shape, DataType::kInt32},
          {{experts}, DataType::kInt64}};
}

void CheckRows(const Checker &check, size_t argument, const char *name, const WindowParameters &window) {
  const DataType dtype = RowType(window.dtype);
  if (check[argument].dtype != dtype) {
    check.FailType("the dtype of '" + std::string(name) + "' is " + check[argument].dtype_name +
                   ", but the window was created for " + Name(dtype) + ".");
  }
  const int64_t hidden = check[argument].shape.back();
  const int64_t expected = static_cast<int64_t>(window.shape.row_bytes / ElementBytes(dtype));
  if (hidden != expected) {
    check.Fail("H, the last dimension of '" + std::string(name) + "', is " + std::to_string(hidden) +
               ", but the window was created for hidden_size " + std::to_string(expected) + ".");
  }
}

DispatchLaunch CheckDispatch(const char *op, const Arguments &in, void *npu_stream) {
  InferDispatch(op, in);  // every dimension is known now
  const Checker check(op, in, dispatch::kArgumentNames);
  const Argument &control = in[dispatch::window_control];
  DispatchLaunch launch;
  launch.control = control.data;
  launch.window = ReadWindow(control.data, npu_stream, op);
  const WindowParameters &window = launch.window;
  CheckRows(check, dispatch::x, "x", window);
  if (in[dispatch::window_rows].data != control.data + RowsOffset(window.shape)) {
    check.Fail("'window_rows' does not lie in the window of 'window_control'. Pass rows and control of one window.");
  }
  const int64_t experts = static_cast<int64_t>(ExpertsPerRank(window.shape));
  if (in[dispatch::local_expert_num].scalar != experts) {
    check.Fail("'local_expert_num' is " + std::to_string(in[dispatch::local_expert_num].scalar) +
               ", but the window has " + std::to_string(experts) + " experts per rank (moe_expert_num " +
               std::to_string(window.shape.expert_num) + " over " + std::to_string(window.shape.world_size) +
               " ranks). Pass window.local_expert_num.");
  }
  const int64_t token_num = in[dispatch::x].shape[0];
  if (token_num > static_cast<int64_t>(window.max_tokens)) {
    check.Fail("T, dimension 0 of 'x', is " + std::to_string(token_num) + ", but the window was created for at most " +
               std::to_string(window.max_tokens) + " tokens per rank. Create it with a larger max_tokens_per_rank, or "
               "dispatch fewer tokens at a time.");
  }
  const int64_t top_k = in[dispatch::expert_ids].shape[1];
  if (top_k > static_cast<int64_t>(window.top_k)) {
    check.Fail("K, dimension 1 of 'expert_ids', is " + std::to_string(top_k) + ", but the window was created for top_k " +
               std::to_string(window.top_k) + ".");
  }
  launch.token_num = static_cast<uint32_t>(token_num);
  launch.top_k = static_cast<uint32_t>(top_k);
  launch.id_bytes = static_cast<uint32_t>(ElementBytes(in[dispatch::expert_ids].dtype));
  launch.cumulative = in[dispatch::expert_token_nums_type].scalar == 0;
  const Argument &mask = in[dispatch::x_active_mask];
  launch.mask_kind = !mask.given ? kNoMask : mask.shape.size() == 1 ? kMaskPerToken : kMaskPerExpert;
  return launch;
}

void RaiseWindowError(void *npu_stream, uint8_t *control, const char *op) {
  if (npu_stream != nullptr) return;
  const std::string error = TakeError(control, op);
  if (!error.empty()) throw std::runtime_error(error);
}

}  // namespace moe_comm
