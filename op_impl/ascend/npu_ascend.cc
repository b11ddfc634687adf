// The Ascend part's calls to CANN's runtime, among them the launch of our kernels.
//
// The launcher is our own. The one that CANN generates allocates and frees device memory on every launch, and returns 0
// when the kernels could not be registered. It also cannot ask that all cores of a kernel begin together. Otherwise two
// kernels with SyncAll on two streams may each hold a part of the cores for ever.
#include "ascend/npu_ascend.h"

#include <dlfcn.h>

#include <atomic>
#include <functional>
#include <map>
#include <mutex>

#include "ascend/acl_call.h"

namespace moe_comm::npu {
namespace {

constexpr int32_t kAloneMilliseconds = 10000;
constexpr uint8_t kAllCoresTogether = 1;  // schemMode: the kernel begins when as many cores are free as it has blocks

std::atomic<uint64_t> g_launches{0};

uint64_t AskVectorCores() {
  int32_t device = 0;
  int64_t cores = 0;
  Check(aclrtGetDevice(&device), "aclrtGetDevice");
  Check(aclGetDeviceCapability(static_cast<uint32_t>(device), ACL_DEVICE_INFO_VECTOR_CORE_NUM, &cores),
        "aclGetDeviceCapability");
  if (cores < 1) throw std::runtime_error("aclGetDeviceCapability reports " + std::to_string(cores) + " vector cores");
  return static_cast<uint64_t>(cores);
}

// A binary holds code for one of the two chip families.
const char *Family() {
  const char *soc = aclrtGetSocName();
  const std::string name = soc == nullptr ? "" : soc;
  if (name.rfind("Ascend910_93", 0) == 0) return "910_93";
  if (name.rfind("Ascend910B", 0) == 0) return "910b";
  throw std::runtime_error("the kernels of ms_moe_comm are for Ascend 910B and 910_93, but this is '" + name + "'.");
}

aclrtBinHandle LoadKernels() {
  Dl_info self;
  if (dladdr(reinterpret_cast<void *>(&LoadKernels), &self) == 0) throw std::runtime_error("dladdr failed");
  const std::string folder = std::string(self.dli_fname).substr(0, std::string(self.dli_fname).rfind('/') + 1);
  const std::string path = folder + "moe_comm_kernels_" + Family() + ".o";
  aclrtBinHandle binary = nullptr;
  Check(aclrtBinaryLoadFromFile(path.c_str(), nullptr, &binary),
        "loading the kernels for this chip, " + path + ", by aclrtBinaryLoadFromFile");
  return binary;
}

// Found once, then kept.
aclrtFuncHandle Kernel(const char *op) {
  static const aclrtBinHandle binary = LoadKernels();
  static std::map<std::string, aclrtFuncHandle, std::less<>> kernels;
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  const auto found = kernels.find(op);
  if (found != kernels.end()) return found->second;
  aclrtFuncHandle kernel = nullptr;
  Check(aclrtBinaryGetFunction(binary, op, &kernel),
        "finding the kernel '" + std::string(op) + "' by aclrtBinaryGetFunction");
  return kernels.emplace(op, kernel).first->second;
}

// No allocation, no copy, no wait: it may run while a graph is captured.
void Launch(const char *op, uint64_t blocks, void *stream, const uint8_t *arguments, uint64_t bytes) {
  const aclrtFuncHandle kernel = Kernel(op);
  const auto check = [op, blocks](aclError code, const char *call) {
    if (code == ACL_SUCCESS) return;
    Check(code, "launching '" + std::string(op) + "' on " + std::to_string(blocks) + " cores by " + call);
  };
  // CANN keeps one list of arguments per thread. It puts the address for SyncAll before our arguments and the address
  // for overflows behind them, as the kernels' entries expect, and copies ours when they are appended. We append them
  // in one piece: each piece begins at a multiple of 8 bytes, but the entries have ints of 4 bytes side by side.
  aclrtArgsHandle list = nullptr;
  aclrtParamHandle piece = nullptr;
  check(aclrtKernelArgsInit(kernel, &list), "aclrtKernelArgsInit");
  check(aclrtKernelArgsAppend(list, const_cast<uint8_t *>(arguments), bytes, &piece), "aclrtKernelArgsAppend");
  check(aclrtKernelArgsFinalize(list), "aclrtKernelArgsFinalize");
  aclrtLaunchKernelAttr attribute = {};
  attribute.id = ACL_RT_LAUNCH_KERNEL_ATTR_SCHEM_MODE;
  attribute.value.schemMode = kAllCoresTogether;
  aclrtLaunchKernelCfg config = {&attribute, 1};
  check(aclrtLaunchKernelWithConfig(kernel, static_cast<uint32_t>(blocks), stream, &config, list, nullptr),
        "aclrtLaunchKernelWithConfig");
  ++g_launches;
}

void RunAlone(const char *op, uint64_t blocks, const uint8_t *arguments, uint64_t bytes) {
  aclrtStream stream = nullptr;
  Check(aclrtCreateStream(&stream), "aclrtCreateStream");
  Launch(op, blocks, stream, arguments, bytes);
  // if the kernel does not end, this throws and the stream stays: it could not be destroyed either
  Check(aclrtSynchronizeStreamWithTimeout(stream, kAloneMilliseconds),
        "waiting " + std::to_string(kAloneMilliseconds / 1000) + " s for '" + op + "' on " + std::to_string(blocks) +
            " cores by aclrtSynchronizeStreamWithTimeout");
  Check(aclrtDestroyStream(stream), "aclrtDestroyStream");
}

void CopyToDevice(uint8_t *device, const void *host, uint64_t bytes) {
  Check(aclrtMemcpy(device, bytes, host, bytes, ACL_MEMCPY_HOST_TO_DEVICE), "aclrtMemcpy to the device");
}

void Clear(uint8_t *device, uint64_t bytes) { Check(aclrtMemset(device, bytes, 0, bytes), "aclrtMemset"); }

}  // namespace

uint64_t VectorCores() {
  static const uint64_t cores = AskVectorCores();  // a process uses one device
  return cores;
}

uint64_t Launches() { return g_launches; }

void CopyToHost(void *host, const uint8_t *device, uint64_t bytes) {
  Check(aclrtMemcpy(host, bytes, device, bytes, ACL_MEMCPY_DEVICE_TO_HOST), "aclrtMemcpy to the host");
}

void Fill(AscendPart *part) {
  part->vector_cores = VectorCores;
  part->launch = Launch;
  part->run_alone = RunAlone;
  part->copy_to_device = CopyToDevice;
  part->clear = Clear;
  part->copy_to_host = CopyToHost;
}

}  // namespace moe_comm::npu
