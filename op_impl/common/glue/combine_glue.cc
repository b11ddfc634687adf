#include "common/glue/combine_glue.h"

namespace moe_comm {

std::vector<Output> InferCombine(const CombineSignature &at, const Arguments &in) {
  const Checker check(at.op, in, at.names);
  check.Dtype(at.expand_x, {DataType::kBfloat16, DataType::kFloat16, DataType::kFloat32});
  check.Dtype(at.expert_ids, {DataType::kInt32, DataType::kInt64});
  check.Dtype(at.expand_idx, {DataType::kInt32});
  check.Dtype(at.window_control, {DataType::kInt32});
  check.Rank(at.expand_x, 2);
  check.Rank(at.expert_ids, 2);
  check.Rank(at.expand_idx, 2);
  check.Rank(at.window_control, 1);
  const int64_t token_num = in[at.expert_ids].shape[0];
  const int64_t top_k = in[at.expert_ids].shape[1];
  const int64_t hidden = in[at.expand_x].shape[1];
  check.Dimension(at.expand_idx, 0, token_num, "T");
  check.Dimension(at.expand_idx, 1, top_k, "K");
  if (in[at.expert_scales].given) {
    check.Dtype(at.expert_scales, {DataType::kFloat32});
    check.Rank(at.expert_scales, 2);
    check.Dimension(at.expert_scales, 0, token_num, "T");
    check.Dimension(at.expert_scales, 1, top_k, "K");
  }
  if (in[at.shared_expert_x].given) {
    check.SameDtype(at.shared_expert_x, at.expand_x);
    check.Rank(at.shared_expert_x, 2);
    check.Dimension(at.shared_expert_x, 0, token_num, "T");
    check.Dimension(at.shared_expert_x, 1, hidden, "H");
  }
  return {{{token_num, hidden}, in[at.expand_x].dtype}};
}

CombineLaunch CheckCombine(const CombineSignature &at, const Arguments &in, void *npu_stream) {
  InferCombine(at, in);  // every dimension is known now
  const Checker check(at.op, in, at.names);
  const Argument &control = in[at.window_control];
  CombineLaunch launch;
  launch.control = control.data;
  launch.window = ReadWindow(control.data, npu_stream, at.op);
  CheckRows(check, at.expand_x, "expand_x", launch.window);
  const int64_t rows = in[at.expand_x].shape[0];
  // how many rows came is known only once dispatch has run, so on an NPU `expand_x` must have room for all that can
  const uint64_t received = npu_stream != nullptr ? launch.window.shape.capacity
                                                  : reinterpret_cast<const uint64_t *>(control.data)[kReceivedRows];
  if (rows < static_cast<int64_t>(received)) {
    check.Fail("'expand_x' has " + std::to_string(rows) + " rows, but this rank " +
               (npu_stream != nullptr ? "can receive " : "received ") + std::to_string(received) +
               ". Pass the expert outputs of all rows of dispatch's expand_x.");
  }
  const int64_t top_k = in[at.expert_ids].shape[1];
  if (top_k < 1 || top_k > static_cast<int64_t>(kMaxTopK)) {
    check.Fail("K, dimension 1 of 'expert_ids', must be 1 to " + std::to_string(kMaxTopK) + ", but got " +
               std::to_string(top_k) + ".");
  }
  launch.token_num = static_cast<uint32_t>(in[at.expert_ids].shape[0]);
  launch.top_k = static_cast<uint32_t>(top_k);
  launch.id_bytes = static_cast<uint32_t>(ElementBytes(in[at.expert_ids].dtype));
  return launch;
}

}  // namespace moe_comm
