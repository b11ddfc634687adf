// The grouped matmuls on Ascend: CANN's GroupedMatmul, called as MindSpore calls it for its own operator. Compiled only
// with CANN.
#include "ascend/grouped_matmul_ascend.h"

#include <algorithm>
#include <string>

#include "kernel/ascend/aclnn/kernel_mod_impl/aclnn_kernel_mod.h"

namespace moe_comm {
namespace {

constexpr int kAbsent = -1;

// The positions of what the built-in operator takes. x, weight and group_list are always the first arguments.
struct Places {
  const char *name;
  int group_list_type;
  int out;  // kAbsent: a new tensor
  int scale;
  int per_token_scale;
  int bias;
};
constexpr int kX = 0, kWeight = 1, kGroupList = 2;

namespace fresh = signatures::moe_grouped_matmul;
namespace in_place = signatures::moe_grouped_matmul_out;
namespace quant = signatures::moe_grouped_matmul_quant;
namespace quant_out = signatures::moe_grouped_matmul_quant_out;

constexpr Places kOperators[] = {
    {fresh::kName, fresh::group_list_type, kAbsent, kAbsent, kAbsent, kAbsent},
    {in_place::kName, in_place::group_list_type, in_place::out, kAbsent, kAbsent, kAbsent},
    {quant::kName, quant::group_list_type, kAbsent, quant::scale, quant::per_token_scale, quant::bias},
    {quant_out::kName, quant_out::group_list_type, quant_out::out, quant_out::scale, quant_out::per_token_scale,
     quant_out::bias},
};

#define MOE_COMM_SAME_PLACES(op) (size_t(op::x) == kX && size_t(op::weight) == kWeight && op::group_list == kGroupList)
static_assert(MOE_COMM_SAME_PLACES(fresh) && MOE_COMM_SAME_PLACES(in_place) && MOE_COMM_SAME_PLACES(quant) &&
              MOE_COMM_SAME_PLACES(quant_out));
#undef MOE_COMM_SAME_PLACES

// CANN takes fewer dtypes and shapes than our operators, and would refuse the others with a number alone.
void CheckOffered(const Places &op, TypeId scale, TypeId y, int64_t x_columns, int64_t inner) {
  const bool offered = scale == mindspore::kNumberTypeBFloat16 ? y == mindspore::kNumberTypeBFloat16
                                                               : y == mindspore::kNumberTypeFloat16;
  if (!offered) {
    MS_EXCEPTION(mindspore::TypeError) << "For '" << op.name << "', Ascend has a bfloat16 'scale' with a bfloat16 "
                                       << "result and a float32 'scale' with a float16 result, but got "
                                       << mindspore::TypeIdToString(scale) << " and " << mindspore::TypeIdToString(y)
                                       << ".";
  }
  if (x_columns != inner) {
    MS_EXCEPTION(mindspore::ValueError) << "For '" << op.name << "', dimension 1 of 'x' must on Ascend be that of "
                                        << "'weight', but they are " << x_columns << " and " << inner
                                        << ". Choose a hidden size that is a multiple of 32.";
  }
}

}  // namespace
}  // namespace moe_comm

// The framework's macros name things as they are seen from here.
namespace mindspore::kernel {
namespace {

// aclnnGroupedMatmulV4: one tensor for all groups (split_item 3), groups along M (0), no activation. Its
// group_list_type has our values: 0 cumulative sums, 1 counts.
constexpr int64_t kOneTensor = 3;
constexpr int64_t kAlongM = 0;
constexpr int64_t kNoActivation = 0;

class MoeGroupedMatmul : public AclnnKernelMod {
 public:
  explicit MoeGroupedMatmul(const moe_comm::Places &op) : AclnnKernelMod("aclnnGroupedMatmulV4"), op_(op) {}

  void GetWorkSpaceInfo(const std::vector<KernelTensor *> &inputs,
                        const std::vector<KernelTensor *> &outputs) override {
    type_ = inputs[op_.group_list_type]->GetValueWithCheck<int64_t>();
    const List y = Target(inputs, outputs);
    if (op_.scale != moe_comm::kAbsent) {
      moe_comm::CheckOffered(op_, inputs[op_.scale]->dtype_id(), y[0]->dtype_id(),
                             inputs[moe_comm::kX]->GetShapeVector()[1], inputs[moe_comm::kWeight]->GetShapeVector()[1]);
    }
    const List none;
    GetWorkspaceForResize(List{inputs[moe_comm::kX]}, List{inputs[moe_comm::kWeight]}, Given(inputs, op_.bias),
                          Given(inputs, op_.scale), none, none, none, Given(inputs, op_.per_token_scale),
                          inputs[moe_comm::kGroupList], none, none, none, kOneTensor, kAlongM, type_, kNoActivation, y,
                          none, none);
  }

  bool Launch(const std::vector<KernelTensor *> &inputs, const std::vector<KernelTensor *> &workspace,
              const std::vector<KernelTensor *> &outputs, void *stream) override {
    const List none;
    RunOp(stream, workspace, List{inputs[moe_comm::kX]}, List{inputs[moe_comm::kWeight]}, Given(inputs, op_.bias),
          Given(inputs, op_.scale), none, none, none, Given(inputs, op_.per_token_scale), inputs[moe_comm::kGroupList],
          none, none, none, kOneTensor, kAlongM, type_, kNoActivation, Target(inputs, outputs), none, none);
    return true;
  }

 private:
  using List = std::vector<KernelTensor *>;

  List Target(const std::vector<KernelTensor *> &inputs, const std::vector<KernelTensor *> &outputs) const {
    return {op_.out == moe_comm::kAbsent ? outputs[0] : inputs[op_.out]};
  }
  static List Given(const std::vector<KernelTensor *> &inputs, int place) {
    if (place == moe_comm::kAbsent || inputs[place]->type_id() == kMetaTypeNone) return {};
    return {inputs[place]};
  }

  const moe_comm::Places &op_;
  int64_t type_ = 1;
  DEFINE_GET_WORKSPACE_FOR_RESIZE()
};

// PyNative. `tensors`: the given tensors, in the order of the arguments.
void Queue(const moe_comm::Places &op, const moe_comm::Arguments &arguments, const std::vector<ms::Tensor> &tensors,
           const std::vector<ms::Tensor> &outputs) {
  using List = std::vector<ms::Tensor>;
  const auto given = [&](int place) -> List {
    if (place == moe_comm::kAbsent || !arguments[place].given) return {};
    const auto is_given = [](const moe_comm::Argument &argument) { return argument.given; };
    return {tensors[std::count_if(arguments.begin(), arguments.begin() + place, is_given)]};
  };
  const List bias = given(op.bias), scale = given(op.scale), per_token_scale = given(op.per_token_scale), none;
  if (!scale.empty()) {
    moe_comm::CheckOffered(op, scale[0].data_type(), outputs[0].data_type(), arguments[moe_comm::kX].shape[1],
                           arguments[moe_comm::kWeight].shape[1]);
  }
  const int64_t type = arguments[op.group_list_type].scalar;
  auto runner = std::make_shared<ms::pynative::AclnnOpRunner>(op.name);
  runner->SetLaunchFunc(LAUNCH_ACLNN_FUNC(aclnnGroupedMatmulV4, List{tensors[moe_comm::kX]},
                                          List{tensors[moe_comm::kWeight]}, bias, scale, none, none, none,
                                          per_token_scale, tensors[moe_comm::kGroupList], none, none, none, kOneTensor,
                                          kAlongM, type, kNoActivation, List{outputs[0]}, none, none));
  runner->Run(tensors, outputs);
}

}  // namespace
}  // namespace mindspore::kernel

namespace moe_comm {

mindspore::kernel::KernelCreator BuiltInKernel(const Operator &op) {
  for (const Places &places : kOperators) {
    if (std::string(places.name) == op.name) {
      return [&places]() { return std::make_shared<mindspore::kernel::MoeGroupedMatmul>(places); };
    }
  }
  return nullptr;
}

bool QueueBuiltIn(const Operator &op, const Arguments &arguments, const std::vector<ms::Tensor> &tensors,
                  const std::vector<ms::Tensor> &outputs) {
  for (const Places &places : kOperators) {
    if (std::string(places.name) == op.name) {
      mindspore::kernel::Queue(places, arguments, tensors, outputs);
      return true;
    }
  }
  return false;
}

}  // namespace moe_comm
