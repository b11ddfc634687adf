// libascendcl: device and host memory, copies. Device memory is host memory; in mode "guarded" the host can touch it
// only while a call of the stand-in is active.
#include <execinfo.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "acl/acl_rt_allocator.h"
#include "stand_in.h"

namespace stand_in {
namespace {

constexpr int kFrames = 40;
constexpr size_t kPageBytes = 2 << 20;
constexpr size_t kDeviceBytes = size_t{16} << 30;

struct DeviceMemory {
  std::mutex mutex;
  std::map<uintptr_t, size_t> ranges;
  std::map<uintptr_t, size_t> allocated;  // by aclrtMalloc
  std::map<uintptr_t, size_t> pinned;     // host memory
  size_t used = 0;
  int active = 0;  // number of calls that may touch it now
};
DeviceMemory &Memory() {
  static DeviceMemory *const memory = new DeviceMemory;  // never destroyed: threads of streams may outlive main
  return *memory;
}

void Protect(uintptr_t address, size_t bytes, bool open) {
  if (mprotect(reinterpret_cast<void *>(address), bytes, open ? PROT_READ | PROT_WRITE : PROT_NONE) != 0) {
    Die("mprotect of %zu bytes failed", bytes);
  }
}

// Reports where the process dies, and whether the host touched device memory. It uses write alone, since nothing else
// is safe in a signal handler.
void OnFault(int signal, siginfo_t *info, void *) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(info->si_addr);
  bool device = false;
  for (const auto &range : Memory().ranges) device |= address - range.first < range.second;
  const auto write_line = [](const char *line) { (void)!write(STDERR_FILENO, line, std::strlen(line)); };
  write_line(device ? "[stand-in CANN] THE HOST TOUCHED DEVICE MEMORY outside of any CANN call:\n"
                    : "[stand-in CANN] segmentation fault:\n");
  void *frames[kFrames];
  backtrace_symbols_fd(frames, backtrace(frames, kFrames), STDERR_FILENO);
  std::signal(signal, SIG_DFL);
}

void WatchFaults() {
  static const bool watching = [] {
    void *frames[kFrames];
    (void)backtrace(frames, kFrames);  // loads its libraries now, since it must not do so in a handler
    struct sigaction action = {};
    action.sa_sigaction = OnFault;
    action.sa_flags = SA_SIGINFO;
    return sigaction(SIGSEGV, &action, nullptr) == 0;
  }();
  if (!watching) Die("no handler for segmentation faults");
}

void Open(int change) {
  if (TheMode() != Mode::kGuarded) return;
  DeviceMemory &memory = Memory();
  std::lock_guard<std::mutex> lock(memory.mutex);
  const bool was_open = memory.active > 0;
  memory.active += change;
  const bool open = memory.active > 0;
  if (open == was_open) return;
  for (const auto &[address, bytes] : memory.ranges) Protect(address, bytes, open);
}

}  // namespace

Access::Access() { Open(1); }
Access::~Access() { Open(-1); }

void AddDeviceMemory(void *address, size_t bytes) {
  DeviceMemory &memory = Memory();
  std::lock_guard<std::mutex> lock(memory.mutex);
  memory.ranges[reinterpret_cast<uintptr_t>(address)] = bytes;
  WatchFaults();
  if (TheMode() != Mode::kGuarded) return;
  if (memory.active == 0) Protect(reinterpret_cast<uintptr_t>(address), bytes, false);
}

void RemoveDeviceMemory(void *address) {
  DeviceMemory &memory = Memory();
  std::lock_guard<std::mutex> lock(memory.mutex);
  memory.ranges.erase(reinterpret_cast<uintptr_t>(address));
}

bool IsPinned(const void *pointer) {
  DeviceMemory &memory = Memory();
  std::lock_guard<std::mutex> lock(memory.mutex);
  const uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
  auto next = memory.pinned.upper_bound(address);
  return next != memory.pinned.begin() && address - std::prev(next)->first < std::prev(next)->second;
}

}  // namespace stand_in

using stand_in::Access;
using stand_in::Fail;

extern "C" {

aclError aclrtMalloc(void **address, size_t bytes, aclrtMemMallocPolicy) {
  if (const aclError code = stand_in::CheckNotCaptured("aclrtMalloc")) return code;
  const size_t size = (bytes / stand_in::kPageBytes + 1) * stand_in::kPageBytes;  // at least 32 bytes beyond the end
  void *memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return Fail(ACL_ERROR_RT_MEMORY_ALLOCATION, "no %zu bytes of device memory", bytes);
  {
    std::lock_guard<std::mutex> lock(stand_in::Memory().mutex);
    stand_in::Memory().allocated[reinterpret_cast<uintptr_t>(memory)] = size;
    stand_in::Memory().used += size;
  }
  stand_in::AddDeviceMemory(memory, size);
  *address = memory;
  return ACL_SUCCESS;
}
aclError aclrtMallocAlign32(void **address, size_t bytes, aclrtMemMallocPolicy policy) {
  return aclrtMalloc(address, bytes, policy);
}
aclError aclrtFree(void *address) {
  if (const aclError code = stand_in::CheckNotCaptured("aclrtFree")) return code;
  if (const aclError code = stand_in::DrainAll()) return code;
  size_t bytes = 0;
  {
    std::lock_guard<std::mutex> lock(stand_in::Memory().mutex);
    const auto found = stand_in::Memory().allocated.find(reinterpret_cast<uintptr_t>(address));
    if (found == stand_in::Memory().allocated.end()) {
      return Fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtFree of %p, which aclrtMalloc did not return", address);
    }
    bytes = found->second;
    stand_in::Memory().used -= bytes;
    stand_in::Memory().allocated.erase(found);
  }
  stand_in::RemoveDeviceMemory(address);
  munmap(address, bytes);
  return ACL_SUCCESS;
}
aclError aclrtMallocHost(void **address, size_t bytes) {
  if (posix_memalign(address, 64, std::max<size_t>(bytes, 1)) != 0) {
    return Fail(ACL_ERROR_BAD_ALLOC, "no %zu bytes of host memory", bytes);
  }
  std::lock_guard<std::mutex> lock(stand_in::Memory().mutex);
  stand_in::Memory().pinned[reinterpret_cast<uintptr_t>(*address)] = bytes;
  return ACL_SUCCESS;
}
aclError aclrtFreeHost(void *address) {
  if (const aclError code = stand_in::DrainAll()) return code;
  {
    std::lock_guard<std::mutex> lock(stand_in::Memory().mutex);
    stand_in::Memory().pinned.erase(reinterpret_cast<uintptr_t>(address));
  }
  std::free(address);
  return ACL_SUCCESS;
}
aclError aclrtGetMemInfo(aclrtMemAttr, size_t *free_bytes, size_t *total_bytes) {
  std::lock_guard<std::mutex> lock(stand_in::Memory().mutex);
  *total_bytes = stand_in::kDeviceBytes;
  *free_bytes = stand_in::kDeviceBytes - std::min(stand_in::kDeviceBytes, stand_in::Memory().used);
  return ACL_SUCCESS;
}

aclError aclrtMemcpy(void *target, size_t room, const void *source, size_t bytes, aclrtMemcpyKind) {
  if (bytes > room) return Fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtMemcpy of %zu bytes into %zu", bytes, room);
  if (const aclError code = stand_in::CheckNotCaptured("aclrtMemcpy")) return code;
  Access access;
  std::memcpy(target, source, bytes);
  return ACL_SUCCESS;
}
aclError aclrtMemset(void *target, size_t room, int32_t value, size_t bytes) {
  if (bytes > room) return Fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtMemset of %zu bytes into %zu", bytes, room);
  if (const aclError code = stand_in::CheckNotCaptured("aclrtMemset")) return code;
  Access access;
  std::memset(target, value, bytes);
  return ACL_SUCCESS;
}
// Host memory that is not pinned is copied in the call, since its owner need not keep it.
aclError aclrtMemcpyAsync(void *target, size_t room, const void *source, size_t bytes, aclrtMemcpyKind kind,
                          aclrtStream stream) {
  if (bytes > room) return Fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtMemcpyAsync of %zu bytes into %zu", bytes, room);
  const void *const host = kind == ACL_MEMCPY_HOST_TO_DEVICE   ? source
                           : kind == ACL_MEMCPY_DEVICE_TO_HOST ? target
                                                               : nullptr;
  const bool at_once = host != nullptr && !stand_in::IsPinned(host) && stand_in::CaptureOf(stream) == nullptr;
  stand_in::Enqueue(stream, "memcpy", [=] { std::memcpy(target, source, bytes); });
  return at_once ? stand_in::Drain(stream) : ACL_SUCCESS;
}
aclError aclrtMemsetAsync(void *target, size_t room, int32_t value, size_t bytes, aclrtStream stream) {
  if (bytes > room) return Fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtMemsetAsync of %zu bytes into %zu", bytes, room);
  stand_in::Enqueue(stream, "memset", [=] { std::memset(target, value, bytes); });
  return ACL_SUCCESS;
}

// MindSpore offers its own memory to operators that CANN compiles; ours need none.
aclrtAllocatorDesc aclrtAllocatorCreateDesc() { return new char; }

}  // extern "C"
