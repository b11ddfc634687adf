// libascendcl: start, device, context, errors.
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "stand_in.h"

namespace stand_in {
namespace {

constexpr int kLineBytes = 1024;
constexpr uint32_t kDevices = 8;
constexpr int64_t kVectorCores = 8;

// One write call per line, so that lines of several threads and ranks do not mix.
void Write(int file, const char *format, va_list arguments) {
  char line[kLineBytes];
  int length = std::snprintf(line, sizeof(line), "[stand-in CANN, process %d] ", static_cast<int>(getpid()));
  length += std::vsnprintf(line + length, sizeof(line) - length - 1, format, arguments);
  if (length > kLineBytes - 2) length = kLineBytes - 2;
  line[length] = '\n';
  (void)!write(file, line, length + 1);
}

thread_local char t_error[kLineBytes];  // plain memory: there are calls while a thread or the process ends

struct Context {
  int32_t device;
};
thread_local Context *t_context = nullptr;

// The default context of a device.
Context *ContextOf(int32_t device) {
  static std::mutex mutex;
  static auto &contexts = *new std::map<int32_t, Context>;
  std::lock_guard<std::mutex> lock(mutex);
  return &contexts.try_emplace(device, Context{device}).first->second;
}

}  // namespace

Mode TheMode() {
  static const Mode mode = [] {
    const char *name = std::getenv("STAND_IN_CANN_MODE");
    if (name == nullptr || std::strcmp(name, "synchronous") == 0) return Mode::kSynchronous;
    if (std::strcmp(name, "late") == 0) return Mode::kLate;
    if (std::strcmp(name, "guarded") == 0) return Mode::kGuarded;
    Die("STAND_IN_CANN_MODE is '%s': synchronous, late or guarded", name);
  }();
  return mode;
}

void Say(const char *format, ...) {
  static const int log = [] {
    const char *const path = std::getenv("STAND_IN_CANN_LOG");
    return path == nullptr ? -1 : open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  }();
  if (log < 0) return;
  va_list arguments;
  va_start(arguments, format);
  Write(log, format, arguments);
  va_end(arguments);
}

void Die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  Write(STDERR_FILENO, format, arguments);
  va_end(arguments);
  std::abort();
}

aclError Fail(aclError code, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(t_error, sizeof(t_error), format, arguments);
  va_end(arguments);
  Say("error %d: %s", code, t_error);
  return code;
}

uint64_t ThisThread() {
  static std::atomic<uint64_t> threads{0};
  static thread_local const uint64_t self = ++threads;
  return self;
}

uint64_t SyncAddress() {
  static uint64_t word;
  return reinterpret_cast<uint64_t>(&word);
}

}  // namespace stand_in

using stand_in::t_context;

extern "C" {

aclError aclInit(const char *) { return ACL_SUCCESS; }
aclError aclFinalize() { return ACL_SUCCESS; }
const char *aclGetRecentErrMsg() { return stand_in::t_error[0] == 0 ? nullptr : stand_in::t_error; }
aclError aclrtGetLastError(aclrtLastErrLevel) { return ACL_SUCCESS; }
aclError aclrtGetVersion(int32_t *major, int32_t *minor, int32_t *patch) {
  *major = 1;
  *minor = 14;
  *patch = 0;
  return ACL_SUCCESS;
}

const char *aclrtGetSocName() {
  static const char *const chosen = std::getenv("STAND_IN_CANN_SOC");
  return chosen == nullptr ? "Ascend910B1" : chosen;
}
aclError aclGetDeviceCapability(uint32_t, aclDeviceInfo info, int64_t *value) {
  if (info == ACL_DEVICE_INFO_L2_SIZE) return stand_in::Fail(ACL_ERROR_INVALID_PARAM, "no L2 size here");
  *value = info == ACL_DEVICE_INFO_VECTOR_CORE_NUM ? stand_in::kVectorCores : stand_in::kVectorCores / 2;
  return ACL_SUCCESS;
}
aclError aclrtGetDeviceInfo(uint32_t, int32_t attribute, int64_t *value) {
  constexpr int32_t kCubeCoreNum = 1, kVectorCoreNum = 101;
  if (attribute != kVectorCoreNum && attribute != kCubeCoreNum && attribute != kCubeCoreNum + 100) {
    return stand_in::Fail(ACL_ERROR_INVALID_PARAM, "device attribute %d", attribute);
  }
  *value = attribute == kCubeCoreNum ? stand_in::kVectorCores / 2 : stand_in::kVectorCores;
  return ACL_SUCCESS;
}
aclError aclrtGetDeviceCount(uint32_t *count) {
  *count = stand_in::kDevices;
  return ACL_SUCCESS;
}
aclError aclrtGetRunMode(aclrtRunMode *mode) {
  *mode = ACL_HOST;
  return ACL_SUCCESS;
}

aclError aclrtSetDevice(int32_t device) {
  if (device < 0 || device >= static_cast<int32_t>(stand_in::kDevices)) {
    return stand_in::Fail(ACL_ERROR_RT_PARAM_INVALID, "there is no device %d", device);
  }
  t_context = stand_in::ContextOf(device);
  return ACL_SUCCESS;
}
aclError aclrtResetDevice(int32_t) { return stand_in::DrainAll(); }
aclError aclrtGetDevice(int32_t *device) {
  if (t_context == nullptr) return stand_in::Fail(ACL_ERROR_RT_CONTEXT_NULL, "this thread has no device");
  *device = t_context->device;
  return ACL_SUCCESS;
}
aclError aclrtCreateContext(aclrtContext *context, int32_t device) {
  t_context = new stand_in::Context{device};
  *context = t_context;
  return ACL_SUCCESS;
}
aclError aclrtDestroyContext(aclrtContext) { return ACL_SUCCESS; }
aclError aclrtSetCurrentContext(aclrtContext context) {
  t_context = static_cast<stand_in::Context *>(context);
  return ACL_SUCCESS;
}
aclError aclrtGetCurrentContext(aclrtContext *context) {
  if (t_context == nullptr) return stand_in::Fail(ACL_ERROR_RT_CONTEXT_NULL, "this thread has no context");
  *context = t_context;
  return ACL_SUCCESS;
}

// Settings that change nothing here.
aclError aclrtCtxSetSysParamOpt(aclSysParamOpt, int64_t) { return ACL_SUCCESS; }
aclError aclrtSetDeviceSatMode(aclrtFloatOverflowMode) { return ACL_SUCCESS; }
aclError aclrtSetExceptionInfoCallback(aclrtExceptionInfoCallback) { return ACL_SUCCESS; }
aclError aclrtSetOpWaitTimeout(uint32_t) { return ACL_SUCCESS; }
aclError aclrtSetOpExecuteTimeOut(uint32_t) { return ACL_SUCCESS; }

// The address at which the cores of a launch meet. It is passed to kernels and never read here.
int32_t rtGetC2cCtrlAddr(uint64_t *address, uint32_t *bytes) {
  *address = stand_in::SyncAddress();
  *bytes = 0;
  return 0;
}
aclError aclrtGetHardwareSyncAddr(void **address) {
  *address = reinterpret_cast<void *>(stand_in::SyncAddress());
  return ACL_SUCCESS;
}

}  // extern "C"
