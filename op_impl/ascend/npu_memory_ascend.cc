#include "ascend/npu_memory.h"

#include <dlfcn.h>

#include <cstring>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>

#include "ascend/acl_call.h"

namespace moe_comm::npu {
namespace {

// Calls of CANN 8.5 that older headers do not have. The types are ours, after its documentation. The fabric handle is
// an opaque structure; it gets twice the documented room.
constexpr uint64_t kNoPidCheck = 1;
using ExportV2 = aclError (*)(aclrtDrvMemHandle handle, uint64_t flags, int type, void *shareable);
using ImportV2 = aclError (*)(void *shareable, int type, uint64_t flags, aclrtDrvMemHandle *handle);

// The number by which these calls know a kind.
int TypeOf(int64_t kind) { return kind == kFabric ? 2 : 1; }

template <typename Function>
Function Find(const char *name) {
  void *const function = dlsym(RTLD_DEFAULT, name);
  if (function == nullptr) {
    throw std::runtime_error("this CANN has no " + std::string(name) + ", which came with 8.5");
  }
  return reinterpret_cast<Function>(function);
}

aclrtPhysicalMemProp Property() {
  aclrtPhysicalMemProp property = {};
  property.handleType = ACL_MEM_HANDLE_TYPE_NONE;
  property.allocationType = ACL_MEM_ALLOCATION_TYPE_PINNED;
  property.memAttr = ACL_HBM_MEM_HUGE;
  property.location.type = ACL_MEM_LOCATION_TYPE_DEVICE;
  property.location.id = static_cast<uint32_t>(ThisDevice().id);
  return property;
}

uint64_t Map(aclrtDrvMemHandle handle, uint64_t bytes) {
  void *address = nullptr;
  Check(aclrtReserveMemAddress(&address, bytes, 0, nullptr, 1), "aclrtReserveMemAddress");  // 1: huge pages
  const aclError code = aclrtMapMem(address, bytes, 0, handle, 0);
  if (code != ACL_SUCCESS) {
    (void)aclrtReleaseMemAddress(address);
    Check(code, "aclrtMapMem");
  }
  return reinterpret_cast<uint64_t>(address);
}

std::mutex g_mutex;
std::map<uint64_t, aclrtDrvMemHandle> g_regions;  // own ones and those of peers, by address

}  // namespace

Device ThisDevice() {
  int32_t device = 0;
  int32_t pid = 0;
  Check(aclrtGetDevice(&device), "aclrtGetDevice");
  Check(aclrtDeviceGetBareTgid(&pid), "aclrtDeviceGetBareTgid");
  return {device, pid};
}

uint64_t Granularity() {
  aclrtPhysicalMemProp property = Property();
  size_t granularity = 0;
  Check(aclrtMemGetAllocationGranularity(&property, ACL_RT_MEM_ALLOC_GRANULARITY_RECOMMENDED, &granularity),
        "aclrtMemGetAllocationGranularity");
  return granularity;
}

uint64_t Reserve(uint64_t bytes) {
  const aclrtPhysicalMemProp property = Property();
  aclrtDrvMemHandle handle = nullptr;
  Check(aclrtMallocPhysical(&handle, bytes, &property, 0), "aclrtMallocPhysical");
  uint64_t address = 0;
  try {
    address = Map(handle, bytes);
  } catch (...) {
    (void)aclrtFreePhysical(handle);
    throw;
  }
  Check(aclrtMemset(reinterpret_cast<void *>(address), bytes, 0, bytes), "aclrtMemset");
  std::lock_guard<std::mutex> lock(g_mutex);
  g_regions[address] = handle;
  return address;
}

std::vector<int64_t> Export(uint64_t address, int64_t kind, const std::vector<int64_t> &pids) {
  std::vector<int64_t> words(kHandleWords);
  std::lock_guard<std::mutex> lock(g_mutex);
  const aclrtDrvMemHandle handle = g_regions.at(address);
  if (kind != kProcesses) {
    Check(Find<ExportV2>("aclrtMemExportToShareableHandleV2")(handle, kNoPidCheck, TypeOf(kind), words.data()),
          "aclrtMemExportToShareableHandleV2");
    return words;
  }
  uint64_t shareable = 0;
  Check(aclrtMemExportToShareableHandle(handle, ACL_MEM_HANDLE_TYPE_NONE, 0, &shareable),
        "aclrtMemExportToShareableHandle");
  std::vector<int32_t> allowed(pids.begin(), pids.end());
  Check(aclrtMemSetPidToShareableHandle(shareable, allowed.data(), allowed.size()), "aclrtMemSetPidToShareableHandle");
  std::memcpy(words.data(), &shareable, sizeof(shareable));
  return words;
}

uint64_t Import(const std::vector<int64_t> &words, int64_t kind, uint64_t bytes) {
  std::vector<int64_t> copy = words;
  aclrtDrvMemHandle handle = nullptr;
  if (kind != kProcesses) {
    Check(Find<ImportV2>("aclrtMemImportFromShareableHandleV2")(copy.data(), TypeOf(kind), 0, &handle),
          "aclrtMemImportFromShareableHandleV2");
  } else {
    uint64_t shareable = 0;
    std::memcpy(&shareable, copy.data(), sizeof(shareable));
    Check(aclrtMemImportFromShareableHandle(shareable, static_cast<int32_t>(ThisDevice().id), &handle),
          "aclrtMemImportFromShareableHandle");
  }
  try {
    const uint64_t address = Map(handle, bytes);
    std::lock_guard<std::mutex> lock(g_mutex);
    g_regions[address] = handle;
    return address;
  } catch (...) {
    (void)aclrtFreePhysical(handle);
    throw;
  }
}

void Release(uint64_t address) {
  std::lock_guard<std::mutex> lock(g_mutex);
  void *const memory = reinterpret_cast<void *>(address);
  Check(aclrtUnmapMem(memory), "aclrtUnmapMem");
  Check(aclrtReleaseMemAddress(memory), "aclrtReleaseMemAddress");
  Check(aclrtFreePhysical(g_regions.at(address)), "aclrtFreePhysical");
  g_regions.erase(address);
}

bool EnablePeer(int64_t peer) {
  const int32_t own = static_cast<int32_t>(ThisDevice().id);
  int32_t reachable = 0;
  if (own == peer) return true;
  Check(aclrtDeviceCanAccessPeer(&reachable, own, static_cast<int32_t>(peer)), "aclrtDeviceCanAccessPeer");
  if (reachable == 0) return false;
  static std::mutex mutex;
  static std::map<int64_t, bool> enabled;  // CANN refuses to enable a peer twice
  std::lock_guard<std::mutex> lock(mutex);
  if (!enabled[peer]) Check(aclrtDeviceEnablePeerAccess(static_cast<int32_t>(peer), 0), "aclrtDeviceEnablePeerAccess");
  enabled[peer] = true;
  return true;
}

}  // namespace moe_comm::npu
