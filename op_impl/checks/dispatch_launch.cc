#include "checks/dispatch_launch.h"

#include "contract/dtype.h"
#include "contract/mask_kind.h"
#include "contract/quant_mode.h"
#include "contract/replica_policy.h"

namespace moe_comm {

void CheckTopK(const Checker &check, size_t expert_ids) {
  const int64_t top_k = check[expert_ids].shape[1];
  if (top_k == kUnknown || (top_k >= 1 && top_k <= static_cast<int64_t>(kMaxTopK))) return;
  check.Fail("K, dimension 1 of 'expert_ids', must be 1 to " + std::to_string(kMaxTopK) + ", but got " +
             std::to_string(top_k) + ".");
}

namespace {

void CheckMask(const Checker &check, int64_t token_num, int64_t top_k) {
  if (!check[dispatch::x_active_mask].given) return;
  const Shape &mask = check[dispatch::x_active_mask].shape;
  check.Dtype(dispatch::x_active_mask, {DataType::kBool});
  if (mask.size() != 1 && mask.size() != 2) {
    check.Fail("'x_active_mask' must be [T] or [T, K], but its shape is " + ToString(mask) + ".");
  }
  check.Dimension(dispatch::x_active_mask, 0, token_num, "T");
  if (mask.size() == 2) check.Dimension(dispatch::x_active_mask, 1, top_k, "K");
}

// Rows are sent in x's dtype, or as int8 into the window's int8 view.
void CheckQuantisation(const Checker &check) {
  check.ScalarOneOf(dispatch::quant_mode, {kNotQuantised, kDynamicInt8});
  const int64_t hidden = check[dispatch::x].shape[1];
  const bool quantised = check[dispatch::quant_mode].scalar == kDynamicInt8;
  if (!quantised) {
    check.SameDtype(dispatch::x, dispatch::window_rows);
    check.Dimension(dispatch::x, 1, check[dispatch::window_rows].shape[1], "the window's H");
  } else {
    if (check[dispatch::window_rows].dtype != DataType::kInt8) {
      check.FailType("the dtype of 'window_rows' must be int8 with quant_mode 2, but got " +
                     check[dispatch::window_rows].dtype_name + ". Pass window.quantised_rows.");
    }
    if (hidden != kUnknown) {
      check.Dimension(dispatch::window_rows, 1, static_cast<int64_t>(QuantisedRowBytes(hidden)),
                      "H rounded up to a multiple of 32");
    }
  }
  check.Dtype(dispatch::window_scales, {DataType::kFloat32});
  check.Rank(dispatch::window_scales, 1);
  check.Dimension(dispatch::window_scales, 0, check[dispatch::window_rows].shape[0], "the rows of 'window_rows'");
  const Argument &scales = check[dispatch::scales];
  if (!scales.given) return;
  if (!quantised) {
    check.Fail("'scales' are the smooth factors of quantisation and have no effect with quant_mode 0. Pass None, or "
               "quant_mode 2.");
  }
  check.Dtype(dispatch::scales, {DataType::kFloat32});
  if (scales.shape.size() != 1 && scales.shape.size() != 2) {
    check.Fail("'scales' must be [H] or [experts, H], but its shape is " + ToString(scales.shape) + ".");
  }
  check.Dimension(dispatch::scales, scales.shape.size() - 1, hidden, "H");
}

void CheckMap(const Checker &check) {
  const bool map = check[dispatch::logical_to_physical_map].given;
  if (map != check[dispatch::logical_replica_count].given) {
    check.Fail("'logical_to_physical_map' and 'logical_replica_count' belong together, but only " +
               std::string(map ? "the first" : "the second") + " was given.");
  }
  check.ScalarOneOf(dispatch::replica_policy, {kReplicaSpread, kReplicaByRank, kReplicaByToken});
  if (!map) {
    if (check[dispatch::replica_policy].scalar == kReplicaSpread) return;
    check.Fail("'replica_policy' has no effect without 'logical_to_physical_map'. Pass a map, or leave it at 0.");
  }
  check.Dtype(dispatch::logical_to_physical_map, {DataType::kInt32});
  check.Dtype(dispatch::logical_replica_count, {DataType::kInt32});
  check.Rank(dispatch::logical_to_physical_map, 2);
  check.Rank(dispatch::logical_replica_count, 1);
  check.Dimension(dispatch::logical_replica_count, 0, check[dispatch::logical_to_physical_map].shape[0],
                  "the rows of 'logical_to_physical_map'");
}

void CheckRankMask(const Checker &check) {
  if (!check[dispatch::rank_mask].given) return;
  check.Dtype(dispatch::rank_mask, {DataType::kBool});
  check.Rank(dispatch::rank_mask, 1);
}

constexpr int64_t kMaxSpecialExperts = (int64_t{1} << 31) - kMaxExperts - 1;  // ids behind the experts' fit 32 bits

void CheckScalars(const Checker &check) {
  check.ScalarOneOf(dispatch::expert_token_nums_type, {0, 1});
  int64_t special = 0;
  for (const size_t argument : {dispatch::zero_expert_num, dispatch::copy_expert_num, dispatch::const_expert_num}) {
    const int64_t number = check[argument].scalar;
    if (number < 0 || number > kMaxSpecialExperts) {
      check.Fail("'" + check.NameOf(argument) + "' must be 0 to " + std::to_string(kMaxSpecialExperts) + ", but got " +
                 std::to_string(number) + ".");
    }
    special += number;
  }
  if (special > kMaxSpecialExperts) {
    check.Fail("'zero_expert_num', 'copy_expert_num' and 'const_expert_num' must be " +
               std::to_string(kMaxSpecialExperts) + " at most together, but are " + std::to_string(special) + ".");
  }
  const int64_t shared = check[dispatch::shared_expert_num].scalar;
  if (shared < 0 || shared > static_cast<int64_t>(kMaxSharedExperts)) {
    check.Fail("'shared_expert_num' must be 0 to " + std::to_string(kMaxSharedExperts) + ", but got " +
               std::to_string(shared) + ".");
  }
  const int64_t experts = check[dispatch::local_expert_num].scalar;
  if (experts < 1) check.Fail("'local_expert_num' must be at least 1, but got " + std::to_string(experts) + ".");
}

}  // namespace

void CheckDispatch(const Checker &check, const WindowLaunch &launch) {
  const WindowInfo &window = launch.Window();
  const uint8_t *control = launch.Base();
  CheckRows(check, dispatch::x, "x", window);
  if (check[dispatch::window_rows].data != control + window.layout.rows.offset ||
      check[dispatch::window_scales].data != control + window.layout.scales.offset) {
    check.Fail("'window_rows' or 'window_scales' does not lie in the window of 'window_control'. Pass rows, scales and "
               "control of one window.");
  }
  const int64_t experts = static_cast<int64_t>(SlotsOf(window.shape, window[kRankId]));
  if (check[dispatch::local_expert_num].scalar != experts) {
    check.Fail("'local_expert_num' is " + std::to_string(check[dispatch::local_expert_num].scalar) +
               ", but the window has " + std::to_string(experts) + " experts per rank (moe_expert_num " +
               std::to_string(window.shape.expert_num) + " over " +
               std::to_string(window.shape.world_size - window.shape.shared_ranks) +
               " ranks). Pass "
               "window.local_expert_num.");
  }
  if (check[dispatch::shared_expert_num].scalar != static_cast<int64_t>(window[kSharedExpertNum])) {
    check.Fail("'shared_expert_num' is " + std::to_string(check[dispatch::shared_expert_num].scalar) +
               ", but the window has " + std::to_string(window[kSharedExpertNum]) +
               " shared experts on ranks of their "
               "own. Pass window.shared_expert_num.");
  }
  const int64_t token_num = check[dispatch::x].shape[0];
  if (token_num > static_cast<int64_t>(window[kMaxTokens])) {
    check.Fail("T, dimension 0 of 'x', is " + std::to_string(token_num) + ", but the window was created for at most " +
               std::to_string(window[kMaxTokens]) +
               " tokens per rank. Create it with a larger max_tokens_per_rank, or "
               "dispatch fewer tokens at a time.");
  }
  const int64_t top_k = check[dispatch::expert_ids].shape[1];
  if (top_k > static_cast<int64_t>(window[kTopK])) {
    check.Fail("K, dimension 1 of 'expert_ids', is " + std::to_string(top_k) +
               ", but the window was created for top_k " + std::to_string(window[kTopK]) + ".");
  }
  const Argument &map = check[dispatch::logical_to_physical_map];
  const int64_t physical = static_cast<int64_t>(window.shape.expert_num);
  if (map.given && (map.shape[0] < 1 || map.shape[0] > physical)) {
    check.Fail("L, dimension 0 of 'logical_to_physical_map', must be 1 to the window's moe_expert_num = " +
               std::to_string(physical) + ", but is " + std::to_string(map.shape[0]) + ".");
  }
  if (check[dispatch::rank_mask].given) {
    check.Dimension(dispatch::rank_mask, 0, static_cast<int64_t>(window.shape.world_size), "the ranks of the window");
  }
  const Argument &scales = check[dispatch::scales];
  if (scales.given && scales.shape.size() == 2) {
    check.Dimension(dispatch::scales, 0,
                    static_cast<int64_t>(window[kSharedExpertNum]) + (map.given ? map.shape[0] : physical),
                    "the number of shared and routed experts");
  }
}

std::vector<Output> InferDispatch(const Checker &check, PlanWordsOf plan_words) {
  check.Dtype(dispatch::x, RowTypes());
  check.Dtype(dispatch::expert_ids, {DataType::kInt32, DataType::kInt64});
  check.Dtype(dispatch::window_control, {DataType::kInt32});
  check.Rank(dispatch::x, 2);
  check.Rank(dispatch::expert_ids, 2);
  check.Rank(dispatch::window_rows, 2);
  check.Rank(dispatch::window_control, 1);
  const int64_t token_num = check[dispatch::x].shape[0];
  const int64_t top_k = check[dispatch::expert_ids].shape[1];
  CheckQuantisation(check);
  check.Dimension(dispatch::expert_ids, 0, token_num, "T");
  CheckTopK(check, dispatch::expert_ids);
  CheckMask(check, token_num, top_k);
  CheckMap(check);
  CheckRankMask(check);
  CheckScalars(check);
  const bool known = token_num != kUnknown && top_k != kUnknown;
  const int64_t columns = top_k == kUnknown ? kUnknown : top_k + check[dispatch::shared_expert_num].scalar;
  return {{check[dispatch::window_rows].shape, check[dispatch::window_rows].dtype},
          {check[dispatch::window_scales].shape, DataType::kFloat32},
          {{token_num, columns}, DataType::kInt32},
          {{check[dispatch::local_expert_num].scalar}, DataType::kInt64},
          {{known ? static_cast<int64_t>(plan_words(token_num, columns)) : kUnknown}, DataType::kInt32},
          {check[dispatch::expert_ids].shape, DataType::kInt32},
          {check[dispatch::window_control].shape, DataType::kInt32}};
}

void CheckRows(const Checker &check, size_t argument, const char *name, const WindowInfo &window) {
  const DataType dtype = RowType(window[kDtype]);
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

named::MaskKind MaskKindOf(const Arguments &in) {
  const Argument &mask = in[dispatch::x_active_mask];
  return named::MaskKind(!mask.given ? kNoMask : mask.shape.size() == 1 ? kMaskPerToken : kMaskPerExpert);
}

named::SmoothKind SmoothKindOf(const Arguments &in) {
  const Argument &scales = in[dispatch::scales];
  return named::SmoothKind(!scales.given ? kNoSmooth : scales.shape.size() == 1 ? kSmoothPerColumn : kSmoothPerExpert);
}

named::SpecialExpertNum SpecialExpertNumOf(const Arguments &in) {
  return named::SpecialExpertNum(static_cast<uint32_t>(in[dispatch::zero_expert_num].scalar +
                                                       in[dispatch::copy_expert_num].scalar +
                                                       in[dispatch::const_expert_num].scalar));
}

}  // namespace moe_comm
