#include "common/glue/npu.h"

#include <stdexcept>
#include <string>

#ifdef CUSTOM_ASCEND_OP
#include <dlfcn.h>

#include <map>
#include <mutex>

#include "acl/acl.h"
#endif

namespace moe_comm::npu {

#ifdef CUSTOM_ASCEND_OP

namespace {

void Check(aclError code, const char *what) {
  if (code == ACL_SUCCESS) return;
  const char *message = aclGetRecentErrMsg();
  throw std::runtime_error(std::string(what) + " failed with ACL error " + std::to_string(code) +
                           (message == nullptr ? "" : ": " + std::string(message)));
}

uint64_t AskVectorCores() {
  int32_t device = 0;
  int64_t cores = 0;
  Check(aclrtGetDevice(&device), "aclrtGetDevice");
  Check(aclGetDeviceCapability(static_cast<uint32_t>(device), ACL_DEVICE_INFO_VECTOR_CORE_NUM, &cores),
        "aclGetDeviceCapability");
  if (cores < 1) throw std::runtime_error("aclGetDeviceCapability reports " + std::to_string(cores) + " vector cores");
  return static_cast<uint64_t>(cores);
}

// The two chip families have a library each: CANN's launch code refuses to run on a chip that it was not built for.
const char *Family() {
  const char *soc = aclrtGetSocName();
  const std::string name = soc == nullptr ? "" : soc;
  if (name.rfind("Ascend910_93", 0) == 0) return "910_93";
  if (name.rfind("Ascend910B", 0) == 0) return "910b";
  throw std::runtime_error("the kernels of ms_moe_comm are for Ascend 910B and 910_93, but this is '" + name + "'.");
}

void *OpenKernels() {
  Dl_info self;
  if (dladdr(reinterpret_cast<void *>(&OpenKernels), &self) == 0) throw std::runtime_error("dladdr failed");
  const std::string folder = std::string(self.dli_fname).substr(0, std::string(self.dli_fname).rfind('/') + 1);
  const std::string path = folder + "libmoe_comm_kernels_" + Family() + ".so";
  void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    throw std::runtime_error("the kernels for this chip cannot be loaded: " + std::string(dlerror()) +
                             ". Source CANN's set_env.sh and install ms_moe_comm again.");
  }
  return library;
}

}  // namespace

void *KernelEntry(const char *op) {
  static void *const library = OpenKernels();
  static std::map<std::string, void *> entries;
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  void *&entry = entries[op];
  if (entry == nullptr) entry = dlsym(library, ("aclrtlaunch_" + std::string(op)).c_str());
  if (entry == nullptr) throw std::runtime_error("'" + std::string(op) + "' is not in the kernels' library.");
  return entry;
}

uint64_t VectorCores() {
  static const uint64_t cores = AskVectorCores();  // a process uses one device
  return cores;
}

void CopyToDevice(uint8_t *device, const void *host, uint64_t bytes) {
  Check(aclrtMemcpy(device, bytes, host, bytes, ACL_MEMCPY_HOST_TO_DEVICE), "aclrtMemcpy to the device");
}

void Clear(uint8_t *device, uint64_t bytes) { Check(aclrtMemset(device, bytes, 0, bytes), "aclrtMemset"); }

void CopyToHost(void *host, const uint8_t *device, uint64_t bytes) {
  Check(aclrtMemcpy(host, bytes, device, bytes, ACL_MEMCPY_DEVICE_TO_HOST), "aclrtMemcpy to the host");
}

#else

namespace {

[[noreturn]] void Refuse() {
  throw std::logic_error("ms_moe_comm was built without CANN: set ASCEND_HOME_PATH (source CANN's set_env.sh) and "
                         "install it again.");
}

}  // namespace

uint64_t VectorCores() { Refuse(); }
void *KernelEntry(const char *) { Refuse(); }
void CopyToDevice(uint8_t *, const void *, uint64_t) { Refuse(); }
void Clear(uint8_t *, uint64_t) { Refuse(); }
void CopyToHost(void *, const uint8_t *, uint64_t) { Refuse(); }

#endif

}  // namespace moe_comm::npu
