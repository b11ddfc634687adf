// Registers the dispatch and combine operators for graph mode on Ascend. Compiled only with CANN.
//
// The framework's macro MS_CUSTOM_OPS_REGISTER would define the infer function again, which register_ops.cc has already
// defined for all devices, and its variable's name is the same for every operator of a file. So this calls what the
// macro calls: the factory's Register.
#include "common/glue/framework.h"

namespace moe_comm {
namespace {

class AscendKernel : public mindspore::kernel::KernelMod {
 public:
  explicit AscendKernel(const Operator &op) : op_(op), arguments_(op) {}

  bool Init(const std::vector<KernelTensor *> &, const std::vector<KernelTensor *> &) override { return true; }

  std::vector<mindspore::kernel::KernelAttr> GetOpSupport() override { return {}; }  // the infer functions check

  void set_fullname(const std::string &) override {}  // the graph builder calls it, and the base class throws

  int Resize(const std::vector<KernelTensor *> &inputs, const std::vector<KernelTensor *> &outputs) override {
    const int result = KernelMod::Resize(inputs, outputs);
    arguments_.Resize(inputs);
    return result;
  }

  // Only queues the kernel. On replay of a captured graph it is not called at all: whatever must change from step to
  // step is in the window, and the kernel changes it.
  bool Launch(const std::vector<KernelTensor *> &inputs, const std::vector<KernelTensor *> &,
              const std::vector<KernelTensor *> &outputs, void *stream) override {
    if (stream == nullptr) MS_EXCEPTION(mindspore::RuntimeError) << "'" << op_.name << "' got no stream to run on.";
    arguments_.Launch(inputs, outputs, stream);
    return true;
  }

 private:
  const Operator &op_;
  GraphArguments arguments_;
};

bool Register(const Operator &op) {
  return mindspore::kernel::CustomKernelFactory::Instance().Register(
      "Custom_" + std::string(op.name), [&op]() { return std::make_shared<AscendKernel>(op); });
}

// (moe_grouped_matmul: grouped_matmul_ascend.cc)
const bool g_registered = Register(kMoeDecodeDispatch) && Register(kMoePrefillDispatch) &&
                          Register(kMoeDecodeCombine) && Register(kMoePrefillCombine);

}  // namespace
}  // namespace moe_comm
