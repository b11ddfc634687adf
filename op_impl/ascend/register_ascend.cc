// The Ascend part of the package: registers the operators for graph mode on Ascend, gives _lib.so its calls to CANN,
// and is the Python module `ms_moe_comm._ascend`. Compiled only with CANN.
//
// The framework's macro MS_CUSTOM_OPS_REGISTER would define the infer function a second time: register_cpu.cc has
// defined it for all devices. The macro's variable also has the same name for every operator of a file. So this file
// calls the factory's Register, as the macro does.
#include "ascend/grouped_matmul_ascend.h"
#include "ascend/npu_ascend.h"
#include "ascend/npu_memory.h"
#include "mindspore/framework.h"

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

  // Only queues the kernel. A replay of a captured graph does not call it: values that change from step to step are in
  // the window, and the kernel changes them.
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

}  // namespace
}  // namespace moe_comm

extern "C" __attribute__((visibility("default"))) const moe_comm::AscendPart *moe_comm_attach_ascend(
    const std::vector<const moe_comm::Operator *> &operators) {
  using mindspore::kernel::CustomKernelFactory;
  static moe_comm::AscendPart part = {};
  moe_comm::npu::Fill(&part);
  part.queue_built_in = moe_comm::QueueBuiltIn;
  for (const moe_comm::Operator *op : operators) {
    const auto built_in = moe_comm::BuiltInKernel(*op);
    const auto own = [op]() { return std::make_shared<moe_comm::AscendKernel>(*op); };
    CustomKernelFactory::Instance().Register("Custom_" + std::string(op->name), built_in ? built_in : own);
  }
  return &part;
}

PYBIND11_MODULE(_ascend, m) {
  namespace npu = moe_comm::npu;
  m.def("device", [] {
    const npu::Device device = npu::ThisDevice();
    return pybind11::make_tuple(device.id, device.pid);
  });
  m.def("vector_cores", npu::VectorCores);
  m.def("launches", npu::Launches);
  m.def("granularity", npu::Granularity);
  m.def("reserve", npu::Reserve);
  m.def("export_region", npu::Export);
  m.def("import_region", npu::Import);
  m.def("release_region", npu::Release);
  m.def("enable_peer", npu::EnablePeer);
  m.def("read_words", [](uint64_t address, uint64_t count) {
    std::vector<int64_t> words(count);
    npu::CopyToHost(words.data(), reinterpret_cast<const uint8_t *>(address), count * sizeof(int64_t));
    return words;
  });
}
