#include "checks/combine_launch.h"

#include <cstdint>

#include "contract/combine_tiling.h"
#include "contract/dtype.h"

namespace moe_comm {
namespace {

// Expert outputs that lie elsewhere are copied to window.outputs. So no other argument may lie there.
void CheckOutputs(const Checker &check, const WindowLaunch &launch) {
  const WindowShape &shape = launch.Window().shape;
  const uint8_t *outputs = launch.Base() + launch.Window().layout.outputs.offset;
  for (size_t argument = 0; argument < combine::kArguments; ++argument) {
    if (argument == combine::expand_x && check[argument].data == outputs) continue;
    if (!check[argument].Overlaps(outputs, shape.capacity * shape.row_bytes)) continue;
    check.Fail("'" + check.NameOf(argument) + "' lies in the memory of window.outputs. Pass " +
               (argument == combine::expand_x ? "window.outputs as a whole, or a copy of the rows." : "a copy of it."));
  }
}

// A [T, H] tensor that is added to the sum of the experts.
void CheckAddend(const Checker &check, size_t addend, int64_t token_num, int64_t hidden) {
  if (!check[addend].given) return;
  check.SameDtype(addend, combine::expand_x);
  check.Rank(addend, 2);
  check.Dimension(addend, 0, token_num, "T");
  check.Dimension(addend, 1, hidden, "H");
}

// Copy and constant experts need their tensors; one that has no effect is refused.
void CheckSpecialExperts(const Checker &check, int64_t token_num, int64_t hidden) {
  for (const size_t number : {combine::zero_expert_num, combine::copy_expert_num, combine::const_expert_num}) {
    const int64_t given = check[number].scalar;
    if (given >= 0 && given <= INT32_MAX) continue;
    check.Fail("'" + check.NameOf(number) + "' must be 0 to " + std::to_string(INT32_MAX) + ", but got " +
               std::to_string(given) + ".");
  }
  const auto require = [&](size_t tensor, bool needed, const std::string &experts) {
    if (check[tensor].given == needed) return;
    const std::string name = check.NameOf(tensor);
    check.Fail(needed ? "'" + name + "' is None, but " + experts + " need it."
                      : "'" + name + "' has no effect without " + experts + ": pass None, or the number of them.");
  };
  const int64_t constants = check[combine::const_expert_num].scalar;
  require(combine::ori_x, check[combine::copy_expert_num].scalar + constants > 0,
          "copy experts (copy_expert_num) and constant experts (const_expert_num)");
  CheckAddend(check, combine::ori_x, token_num, hidden);
  for (const size_t tensor : {combine::const_expert_alpha_1, combine::const_expert_alpha_2, combine::const_expert_v}) {
    require(tensor, constants > 0, "constant experts (const_expert_num)");
  }
  if (constants == 0) return;
  const Shape &alpha = check[combine::const_expert_alpha_1].shape;
  if (alpha.size() != 1 && alpha.size() != 2) {
    check.Fail("'const_expert_alpha_1' must be [V] or [V, H], but its shape is " + ToString(alpha) + ".");
  }
  check.Rank(combine::const_expert_alpha_2, alpha.size());
  check.Rank(combine::const_expert_v, 2);
  for (const size_t tensor : {combine::const_expert_alpha_1, combine::const_expert_alpha_2, combine::const_expert_v}) {
    check.SameDtype(tensor, combine::expand_x);
    check.Dimension(tensor, 0, constants, "const_expert_num");
    if (check[tensor].shape.size() == 2) check.Dimension(tensor, 1, hidden, "H");
  }
}

DataType OutType(const Checker &check) {
  std::vector<int64_t> codes = {kSameDtype};
  for (int64_t code = 0; code < kDtypeCount; ++code) codes.push_back(code);
  check.ScalarOneOf(combine::out_dtype, codes);
  const int64_t code = check[combine::out_dtype].scalar;
  return code == kSameDtype ? check[combine::expand_x].dtype : RowType(code);
}

}  // namespace

void CheckCombine(const Checker &check, const WindowLaunch &launch) {
  const WindowInfo &window = launch.Window();
  CheckRows(check, combine::expand_x, "expand_x", window);
  const int64_t rows = check[combine::expand_x].shape[0];
  // the number of received rows is known only after dispatch has run, so on an NPU `expand_x` must have all A rows
  const uint64_t *header = reinterpret_cast<const uint64_t *>(launch.Base());
  const uint64_t received = window.on_npu ? window.shape.capacity : header[kReceivedRows];
  if (rows < static_cast<int64_t>(received)) {
    check.Fail("'expand_x' has " + std::to_string(rows) + " rows, but this rank " +
               (window.on_npu ? "can receive " : "received ") + std::to_string(received) +
               ". Pass the expert outputs of all rows of dispatch's expand_x.");
  }
  CheckOutputs(check, launch);
  check.Dimension(combine::expand_idx, 1,
                  check[combine::expert_ids].shape[1] + static_cast<int64_t>(window[kSharedExpertNum]),
                  window[kSharedExpertNum] == 0 ? "K" : "K and the window's shared experts");
  if (check[combine::shared_expert_x].given && window[kSharedExpertNum] != 0) {
    check.Fail("'shared_expert_x' is for a window without shared experts on ranks of their own, but this one has " +
               std::to_string(window[kSharedExpertNum]) + ". Pass None.");
  }
  const int64_t ids = static_cast<int64_t>(window.shape.expert_num) + check[combine::zero_expert_num].scalar +
                      check[combine::copy_expert_num].scalar + check[combine::const_expert_num].scalar;
  if (ids > INT32_MAX) {
    check.Fail("the window's " + std::to_string(window.shape.expert_num) + " experts and the special ones are " +
               std::to_string(ids) + ", more than the " + std::to_string(INT32_MAX) + " that an int32 id can name.");
  }
}

std::vector<Output> InferCombine(const Checker &check, PlanWordsOf plan_words) {
  check.Dtype(combine::expand_x, RowTypes());
  check.Dtype(combine::expert_ids, {DataType::kInt32, DataType::kInt64});
  check.Dtype(combine::expand_idx, {DataType::kInt32});
  check.Dtype(combine::plan, {DataType::kInt32});
  check.Dtype(combine::window_control, {DataType::kInt32});
  check.Rank(combine::expand_x, 2);
  check.Rank(combine::expert_ids, 2);
  check.Rank(combine::expand_idx, 2);
  check.Rank(combine::plan, 1);
  check.Rank(combine::window_control, 1);
  const int64_t token_num = check[combine::expert_ids].shape[0];
  const int64_t top_k = check[combine::expert_ids].shape[1];
  const int64_t hidden = check[combine::expand_x].shape[1];
  CheckTopK(check, combine::expert_ids);
  check.Dimension(combine::expand_idx, 0, token_num, "T");
  const int64_t columns = check[combine::expand_idx].shape[1];
  const int64_t shared = columns == kUnknown || top_k == kUnknown ? 0 : columns - top_k;
  if (shared < 0 || shared > static_cast<int64_t>(kMaxSharedExperts)) {
    check.Dimension(combine::expand_idx, 1, top_k, "K");
  }
  if (token_num != kUnknown && columns != kUnknown) {
    check.Dimension(combine::plan, 0, static_cast<int64_t>(plan_words(token_num, columns)),
                    "the plan's length for these T and K");
  }
  if (check[combine::expert_scales].given) {
    check.Dtype(combine::expert_scales, {DataType::kFloat32});
    check.Rank(combine::expert_scales, 2);
    check.Dimension(combine::expert_scales, 0, token_num, "T");
    check.Dimension(combine::expert_scales, 1, top_k, "K");
  }
  CheckAddend(check, combine::shared_expert_x, token_num, hidden);
  CheckAddend(check, combine::residual_x, token_num, hidden);
  CheckSpecialExperts(check, token_num, hidden);
  return {{{token_num, hidden}, OutType(check)}, {check[combine::window_control].shape, DataType::kInt32}};
}

named::Dtype DtypeOf(const WindowLaunch &launch) {
  return named::Dtype(static_cast<uint32_t>(launch.Window()[kDtype]));
}

named::ResultDtype ResultDtypeOf(const Arguments &in, const WindowLaunch &launch) {
  const int64_t code = in[combine::out_dtype].scalar;
  return named::ResultDtype(static_cast<uint32_t>(code == kSameDtype ? launch.Window()[kDtype] : code));
}

named::TileElements TileElementsOf(const Arguments &in) {
  return named::TileElements(TileElements(in[combine::expand_x].shape[1]));
}

named::AlphaRank AlphaRankOf(const Arguments &in) {
  return named::AlphaRank(static_cast<uint32_t>(in[combine::const_expert_alpha_1].shape.size()));
}

}  // namespace moe_comm
