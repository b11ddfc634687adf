// moe_grouped_matmul and moe_grouped_matmul_out on Ascend: CANN's GroupedMatmul, called as MindSpore calls it for its own
// operator. Compiled only with CANN.
#include "moe_grouped_matmul/ms_glue/grouped_matmul_ascend.h"

#include "kernel/ascend/aclnn/kernel_mod_impl/aclnn_kernel_mod.h"

// The framework's macros name things as they are seen from here.
namespace mindspore::kernel {
namespace {

namespace fresh = moe_comm::signatures::moe_grouped_matmul;
namespace in_place = moe_comm::signatures::moe_grouped_matmul_out;

// aclnnGroupedMatmulV4: one tensor for all groups (split_item 3), groups along M (0), no activation. Its
// group_list_type has our values: 0 cumulative sums, 1 counts.
constexpr int64_t kOneTensor = 3;
constexpr int64_t kAlongM = 0;
constexpr int64_t kNoActivation = 0;

class MoeGroupedMatmul : public AclnnKernelMod {
 public:
  MoeGroupedMatmul(size_t group_list_type, int out)
      : AclnnKernelMod("aclnnGroupedMatmulV4"), group_list_type_(group_list_type), out_(out) {}

  void GetWorkSpaceInfo(const std::vector<KernelTensor *> &inputs,
                        const std::vector<KernelTensor *> &outputs) override {
    type_ = inputs[group_list_type_]->GetValueWithCheck<int64_t>();
    const List none;
    GetWorkspaceForResize(List{inputs[fresh::x]}, List{inputs[fresh::weight]}, none, none, none, none, none, none,
                          inputs[fresh::group_list], none, none, none, kOneTensor, kAlongM, type_, kNoActivation,
                          Target(inputs, outputs), none, none);
  }

  bool Launch(const std::vector<KernelTensor *> &inputs, const std::vector<KernelTensor *> &workspace,
              const std::vector<KernelTensor *> &outputs, void *stream) override {
    const List none;
    RunOp(stream, workspace, List{inputs[fresh::x]}, List{inputs[fresh::weight]}, none, none, none, none, none, none,
          inputs[fresh::group_list], none, none, none, kOneTensor, kAlongM, type_, kNoActivation,
          Target(inputs, outputs), none, none);
    return true;
  }

 private:
  using List = std::vector<KernelTensor *>;

  List Target(const std::vector<KernelTensor *> &inputs, const std::vector<KernelTensor *> &outputs) const {
    return {out_ < 0 ? outputs[0] : inputs[out_]};
  }

  size_t group_list_type_;
  int out_;  // the argument that the result is written to, or -1
  int64_t type_ = 1;
  DEFINE_GET_WORKSPACE_FOR_RESIZE()
};

static_assert(fresh::group_list_type + 1 == fresh::kArguments && in_place::group_list_type + 1 == in_place::kArguments);

bool Register(const char *name, size_t group_list_type, int out) {
  return CustomKernelFactory::Instance().Register(
      "Custom_" + std::string(name), [=]() { return std::make_shared<MoeGroupedMatmul>(group_list_type, out); });
}

const bool g_registered = Register(fresh::kName, fresh::group_list_type, -1) &&
                          Register(in_place::kName, in_place::group_list_type, in_place::out);

// PyNative
void Queue(const char *op, const std::vector<ms::Tensor> &tensors, int64_t group_list_type,
           const std::vector<ms::Tensor> &outputs) {
  using List = std::vector<ms::Tensor>;
  const List none;
  auto runner = std::make_shared<ms::pynative::AclnnOpRunner>(op);
  runner->SetLaunchFunc(LAUNCH_ACLNN_FUNC(aclnnGroupedMatmulV4, List{tensors[fresh::x]}, List{tensors[fresh::weight]},
                                          none, none, none, none, none, none, tensors[fresh::group_list], none, none,
                                          none, kOneTensor, kAlongM, group_list_type, kNoActivation,
                                          List{outputs[0]}, none, none));
  runner->Run(tensors, outputs);
}

}  // namespace
}  // namespace mindspore::kernel

namespace moe_comm {

bool QueueBuiltIn(const Operator &op, const Arguments &arguments, const std::vector<ms::Tensor> &tensors,
                  const std::vector<ms::Tensor> &outputs) {
  if (&op != &kMoeGroupedMatmul && &op != &kMoeGroupedMatmulOut) return false;
  mindspore::kernel::Queue(op.name, tensors, arguments.back().scalar, outputs);  // group_list_type is the last of both
  return true;
}

}  // namespace moe_comm
