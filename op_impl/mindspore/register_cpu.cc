// Registers every operator for graph mode on CPU. (pynative.cc: PyNative; ascend/register_ascend.cc: graph mode on
// Ascend.)
#include <set>
#include <vector>

#include "host/ascend_part.h"
#include "include/runtime/hardware_abstract/kernel_base/ms_factory.h"
#include "kernel/cpu/cpu_kernel.h"
#include "mindspore/framework.h"
#include "ops/op_def.h"
#include "ops/ops_func_impl/op_func_impl.h"
#include "utils/phase.h"

namespace moe_comm {

namespace {

using mindspore::ops::InferInfoPtrList;

class GraphInfer : public mindspore::ops::OpFuncImpl {
 public:
  explicit GraphInfer(const Operator &op) : op_(op) {
    for (size_t i = 0; i < op.arguments; ++i) {
      if (op.is_scalar[i]) scalars_.insert(static_cast<int64_t>(i));
    }
  }

  bool GeneralInferRegistered() const override { return true; }

  std::set<int64_t> GetValueDependArgIndices() const override { return scalars_; }

  mindspore::ShapeArray InferShape(const mindspore::PrimitivePtr &, const InferInfoPtrList &infos) const override {
    mindspore::ShapeArray shapes;
    for (const Output &output : Outputs(infos)) shapes.push_back(output.shape);
    return shapes;
  }

  std::vector<TypeId> InferType(const mindspore::PrimitivePtr &, const InferInfoPtrList &infos) const override {
    std::vector<TypeId> types;
    for (const Output &output : Outputs(infos)) types.push_back(ToTypeId(output.dtype));
    return types;
  }

 private:
  // A file would hold copies of the window's tensors, and no copy is a window.
  void RefuseExport() const {
    const std::string &phase = mindspore::PhaseManager::GetInstance().phase();
    if (!op_.has_window || (phase.rfind("export", 0) != 0 && phase.rfind("lite_infer", 0) != 0)) return;
    MS_EXCEPTION(mindspore::RuntimeError)
        << "For '" << op_.name << "', the graph cannot be exported: no file can hold an ExpertWindow, which is memory "
        << "that processes share. Save the weights (mindspore.save_checkpoint), and build the cell where it runs.";
  }

  std::vector<Output> Outputs(const InferInfoPtrList &infos) const {
    RefuseExport();
    Arguments arguments(infos.size());
    for (size_t i = 0; i < infos.size(); ++i) {
      if (op_.is_scalar[i]) {
        const auto value = infos[i]->GetScalarValue<int64_t>();
        if (!value.has_value()) {
          MS_EXCEPTION(mindspore::ValueError)
              << "For '" << op_.name << "', argument " << i << " must be a constant int when the graph is built.";
        }
        arguments[i].scalar = value.value();
      } else if (!infos[i]->IsNone()) {
        SetTensor(infos[i]->GetType(), infos[i]->GetShape(), &arguments[i]);
      }
    }
    return Translated([&] {
      if (OnNpu()) Ascend();  // registers the kernels that the graph will ask for
      return op_.infer(arguments);
    });
  }

  const Operator &op_;
  std::set<int64_t> scalars_;
};

class GraphKernel : public mindspore::kernel::NativeCpuKernelMod {
 public:
  explicit GraphKernel(const Operator &op) : arguments_(op) {}

  bool Init(const std::vector<KernelTensor *> &, const std::vector<KernelTensor *> &) override { return true; }

  std::vector<mindspore::kernel::KernelAttr> GetOpSupport() override {
    static const std::vector<mindspore::kernel::KernelAttr> any = {
        mindspore::kernel::KernelAttr().AddSkipCheckAttr(true)};  // the infer functions check
    return any;
  }

  int Resize(const std::vector<KernelTensor *> &inputs, const std::vector<KernelTensor *> &outputs) override {
    const int result = mindspore::kernel::KernelMod::Resize(inputs, outputs);
    arguments_.Resize(inputs);
    return result;
  }

  bool Launch(const std::vector<KernelTensor *> &inputs, const std::vector<KernelTensor *> &,
              const std::vector<KernelTensor *> &outputs) override {
    arguments_.Launch(inputs, outputs, nullptr);
    return true;
  }

 private:
  GraphArguments arguments_;
};

#define MOE_COMM_INFER(Op, op) GraphInfer g_##op##_infer(k##Op);
MOE_COMM_FOR_EACH_SIGNATURE(MOE_COMM_INFER)
#undef MOE_COMM_INFER

}  // namespace
}  // namespace moe_comm

// The generated operator definitions (gen_custom_ops_def.cc) refer to the infer function; the framework looks up the
// kernel.
#define MOE_COMM_REGISTER(Op, op)                                                                  \
  namespace mindspore::ops {                                                                       \
  OpFuncImpl &gCustom_##op##FuncImpl = moe_comm::g_##op##_infer;                                   \
  }                                                                                                \
  namespace mindspore::kernel {                                                                    \
  static const KernelRegistrar<NativeCpuKernelMod> g_Custom_##op##_registrar("Custom_" #op, []() { \
    return std::make_shared<moe_comm::GraphKernel>(moe_comm::k##Op);                               \
  });                                                                                              \
  }
MOE_COMM_FOR_EACH_SIGNATURE(MOE_COMM_REGISTER)
