// libascendcl: physical memory, addresses for it, and handles for other processes. Physical memory is a memfd, which
// another process opens through /proc.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>

#include "stand_in.h"

// The number of the server on which this process pretends to be, below STAND_IN_CANN_SERVERS.
extern "C" int stand_in_server() {
  const auto number = [](const char *name, int otherwise) {
    const char *const text = std::getenv(name);
    return text == nullptr ? otherwise : std::atoi(text);
  };
  return number("RANK_ID", 0) * number("STAND_IN_CANN_SERVERS", 1) / number("RANK_SIZE", 1);
}

namespace {

using stand_in::Fail;

constexpr size_t kPageBytes = 2 << 20;
constexpr size_t kFilledBytes = 64 << 20;  // smaller memory is filled with garbage, as on a device
constexpr int kRubbish = 0xA5;

struct Physical {
  int file;
  size_t bytes;
};
struct Range {
  size_t bytes;
  void *mapping;  // the aligned address lies in it
  size_t mapping_bytes;
};

std::mutex g_mutex;
// Never destroyed: MindSpore ends after static destruction.
auto &g_reserved = *new std::map<void *, Range>;
auto &g_mapped = *new std::map<void *, size_t>;
auto &g_imported = *new std::set<std::pair<int32_t, int32_t>>;  // process and file

// What a handle tells another process: in 8 bytes within a server, in 128 bytes in a fabric handle.
struct Shareable {
  int32_t process;
  int16_t file;
  int16_t server;
};
static_assert(sizeof(Shareable) == sizeof(uint64_t));

// The kinds of handle since CANN 8.5. A fabric handle needs Ascend 910_93.
enum HandleType : int32_t { kServer = 1, kFabric = 2 };
constexpr size_t kFabricBytes = 128;

aclError CheckOffered(int32_t type) {
  const char *const only = std::getenv("STAND_IN_CANN_HANDLES");
  if (only != nullptr && std::strcmp(only, "processes") == 0) {
    return Fail(ACL_ERROR_RT_FEATURE_NOT_SUPPORT, "handles of type %d came with CANN 8.5", type);
  }
  const bool super_node = std::strncmp(aclrtGetSocName(), "Ascend910_93", 12) == 0;
  if (type != kServer && (type != kFabric || !super_node)) {
    return Fail(ACL_ERROR_RT_FEATURE_NOT_SUPPORT, "no handles of type %d on %s", type, aclrtGetSocName());
  }
  return ACL_SUCCESS;
}

Shareable Export(aclrtDrvMemHandle handle) {
  const int file = static_cast<Physical *>(handle)->file;
  return {getpid(), static_cast<int16_t>(file), static_cast<int16_t>(stand_in_server())};
}

aclError Import(const Shareable &shareable, aclrtDrvMemHandle *handle) {
  {
    std::lock_guard<std::mutex> lock(g_mutex);
    if (shareable.process == getpid()) return Fail(ACL_ERROR_RT_PARAM_INVALID, "imported by the process that exports");
    if (!g_imported.insert({shareable.process, shareable.file}).second) {
      return Fail(ACL_ERROR_RT_PARAM_INVALID, "imported twice by one process");
    }
  }
  char path[64];
  std::snprintf(path, sizeof(path), "/proc/%d/fd/%d", shareable.process, shareable.file);
  const int file = open(path, O_RDWR | O_CLOEXEC);
  if (file < 0) return Fail(ACL_ERROR_RT_PARAM_INVALID, "no memory at %s", path);
  *handle = new Physical{file, static_cast<size_t>(lseek(file, 0, SEEK_END))};
  return ACL_SUCCESS;
}

}  // namespace

extern "C" {

aclError aclrtMemImportFromShareableHandleV2(void *shareable, int32_t type, uint64_t flags, aclrtDrvMemHandle *handle);

aclError aclrtMemGetAllocationGranularity(aclrtPhysicalMemProp *, aclrtMemGranularityOptions, size_t *granularity) {
  *granularity = kPageBytes;
  return ACL_SUCCESS;
}

aclError aclrtReserveMemAddress(void **address, size_t bytes, size_t, void *expected, uint64_t) {
  if (expected != nullptr) return Fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtReserveMemAddress at a chosen address");
  const size_t size = bytes + kPageBytes;
  void *const mapping = mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) return Fail(ACL_ERROR_RT_MEMORY_ALLOCATION, "no address range of %zu bytes", bytes);
  *address = reinterpret_cast<void *>((reinterpret_cast<uintptr_t>(mapping) + kPageBytes - 1) & ~(kPageBytes - 1));
  std::lock_guard<std::mutex> lock(g_mutex);
  g_reserved[*address] = {bytes, mapping, size};
  return ACL_SUCCESS;
}
aclError aclrtReleaseMemAddress(void *address) {
  std::lock_guard<std::mutex> lock(g_mutex);
  const auto found = g_reserved.find(address);
  if (found == g_reserved.end()) return Fail(ACL_ERROR_RT_PARAM_INVALID, "%p was not reserved", address);
  munmap(found->second.mapping, found->second.mapping_bytes);
  g_reserved.erase(found);
  return ACL_SUCCESS;
}

aclError aclrtMallocPhysical(aclrtDrvMemHandle *handle, size_t bytes, const aclrtPhysicalMemProp *property,
                             uint64_t flags) {
  if (bytes == 0 || bytes % kPageBytes != 0 || flags != 0) {
    return Fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtMallocPhysical of %zu bytes, flags %lu", bytes, flags);
  }
  if (property == nullptr || property->location.type != ACL_MEM_LOCATION_TYPE_DEVICE) {
    return Fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtMallocPhysical that is not on a device");
  }
  const int file = memfd_create("stand_in_cann", MFD_CLOEXEC);
  if (file < 0 || ftruncate(file, static_cast<off_t>(bytes)) != 0) {
    return Fail(ACL_ERROR_RT_MEMORY_ALLOCATION, "no %zu bytes of physical memory", bytes);
  }
  if (bytes <= kFilledBytes) {
    void *const view = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (view == MAP_FAILED) return Fail(ACL_ERROR_RT_MEMORY_ALLOCATION, "no address for %zu bytes", bytes);
    std::memset(view, kRubbish, bytes);
    munmap(view, bytes);
  }
  *handle = new Physical{file, bytes};
  return ACL_SUCCESS;
}
aclError aclrtFreePhysical(aclrtDrvMemHandle handle) {
  auto *const physical = static_cast<Physical *>(handle);
  close(physical->file);
  delete physical;
  return ACL_SUCCESS;
}

aclError aclrtMapMem(void *address, size_t bytes, size_t offset, aclrtDrvMemHandle handle, uint64_t) {
  const auto *const physical = static_cast<Physical *>(handle);
  if (offset != 0 || bytes > physical->bytes) {
    return Fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtMapMem of %zu bytes of %zu", bytes, physical->bytes);
  }
  void *const mapped = mmap(address, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, physical->file, 0);
  if (mapped == MAP_FAILED) return Fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtMapMem at %p failed", address);
  {
    std::lock_guard<std::mutex> lock(g_mutex);
    g_mapped[address] = bytes;
  }
  stand_in::AddDeviceMemory(address, bytes);
  return ACL_SUCCESS;
}
aclError aclrtUnmapMem(void *address) {
  if (const aclError code = stand_in::DrainAll()) return code;
  std::lock_guard<std::mutex> lock(g_mutex);
  const auto found = g_mapped.find(address);
  if (found == g_mapped.end()) return Fail(ACL_ERROR_RT_PARAM_INVALID, "%p is not mapped", address);
  stand_in::RemoveDeviceMemory(address);
  (void)mmap(address, found->second, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
  g_mapped.erase(found);
  return ACL_SUCCESS;
}

// Within one server, for listed processes (here for any process).
aclError aclrtMemExportToShareableHandle(aclrtDrvMemHandle handle, aclrtMemHandleType, uint64_t, uint64_t *shareable) {
  const Shareable words = Export(handle);
  std::memcpy(shareable, &words, sizeof(words));
  return ACL_SUCCESS;
}
aclError aclrtMemSetPidToShareableHandle(uint64_t, int32_t *, size_t) { return ACL_SUCCESS; }
aclError aclrtMemImportFromShareableHandle(uint64_t shareable, int32_t, aclrtDrvMemHandle *handle) {
  return aclrtMemImportFromShareableHandleV2(&shareable, kServer, 0, handle);
}

// Since CANN 8.5.
aclError aclrtMemExportToShareableHandleV2(aclrtDrvMemHandle handle, uint64_t flags, int32_t type, void *shareable) {
  if (const aclError code = CheckOffered(type)) return code;
  if (flags != 1) return Fail(ACL_ERROR_RT_PARAM_INVALID, "without flag 1 a handle needs a list of processes");
  const Shareable words = Export(handle);
  if (type == kFabric) std::memset(shareable, 0, kFabricBytes);
  std::memcpy(shareable, &words, sizeof(words));
  return ACL_SUCCESS;
}
aclError aclrtMemImportFromShareableHandleV2(void *shareable, int32_t type, uint64_t, aclrtDrvMemHandle *handle) {
  Shareable words;
  std::memcpy(&words, shareable, sizeof(words));
  if (type == kServer && words.server != stand_in_server()) {
    return Fail(ACL_ERROR_RT_PARAM_INVALID, "a handle of another server");
  }
  return Import(words, handle);
}

aclError aclrtDeviceGetBareTgid(int32_t *pid) {
  *pid = getpid();
  return ACL_SUCCESS;
}
aclError aclrtDeviceCanAccessPeer(int32_t *can, int32_t device, int32_t peer) {
  *can = device != peer;
  return ACL_SUCCESS;
}
aclError aclrtDeviceEnablePeerAccess(int32_t peer, uint32_t flags) {
  static std::mutex mutex;
  static std::set<int32_t> enabled;
  std::lock_guard<std::mutex> lock(mutex);
  if (flags != 0) return Fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtDeviceEnablePeerAccess with flags %u", flags);
  if (!enabled.insert(peer).second) return Fail(ACL_ERROR_RT_PARAM_INVALID, "access to device %d enabled twice", peer);
  return ACL_SUCCESS;
}

}  // extern "C"
