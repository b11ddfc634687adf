// libascendcl: our kernels, as ascendc.cmake builds them for the host twin. They are launched by aclrtlaunch_<kernel>,
// or as a kernel binary with the arguments in one block (README.md).
#include <dlfcn.h>

#include <cstring>

#include "kernels/kernels.h"
#include "stand_in.h"

namespace {

using stand_in::Fail;
using stand_in::KernelEntry;

struct Function {
  std::string name;
  const KernelEntry *entry;
};
// A list of arguments: one for each thread, reset by aclrtKernelArgsInit. CANN puts the sync address before what
// the caller appends and the overflow pointer behind it, and begins each piece at a multiple of 8 bytes.
struct Arguments {
  std::vector<uint8_t> bytes;
  bool complete = false;
};
constexpr size_t kPieceAlignment = 8;

void Append(Arguments *arguments, const void *value, size_t bytes) {
  const size_t at = (arguments->bytes.size() + kPieceAlignment - 1) / kPieceAlignment * kPieceAlignment;
  arguments->bytes.resize(at + bytes);
  std::memcpy(arguments->bytes.data() + at, value, bytes);
}

void Begin(Arguments *arguments) {
  arguments->bytes.clear();
  arguments->complete = false;
  const uint64_t sync_address = stand_in::SyncAddress();
  Append(arguments, &sync_address, sizeof(sync_address));
}

aclError Launch(const char *name, const KernelEntry &entry, uint32_t blocks, aclrtStream stream, const void *arguments,
                size_t bytes) {
  uint64_t sync_address = 0;
  if (bytes == entry.argument_bytes) std::memcpy(&sync_address, arguments, sizeof(sync_address));
  if (bytes != entry.argument_bytes || sync_address != stand_in::SyncAddress()) {
    return Fail(ACL_ERROR_INVALID_PARAM,
                "kernel %s takes %zu bytes of arguments, of which the first 8 are the sync address; got %zu", name,
                entry.argument_bytes, bytes);
  }
  int64_t cores = 0;
  (void)aclGetDeviceCapability(0, ACL_DEVICE_INFO_VECTOR_CORE_NUM, &cores);
  if (blocks == 0 || blocks > cores) {
    return Fail(ACL_ERROR_INVALID_PARAM, "kernel %s on %u of %ld cores: its cores wait for each other", name, blocks,
                cores);
  }
  const auto *const first = static_cast<const uint8_t *>(arguments);
  const std::vector<uint8_t> copy(first, first + bytes);
  stand_in::Say("kernel %s on %u cores", name, blocks);
  stand_in::Enqueue(stream, name, [run = entry.run, blocks, copy] { run(blocks, copy.data()); });
  return ACL_SUCCESS;
}

}  // namespace

extern "C" {

uint32_t stand_in_launch(const char *name, const KernelEntry *entry, uint32_t blocks, void *stream, void *arguments) {
  const uint64_t sync_address = stand_in::SyncAddress();
  std::memcpy(arguments, &sync_address, sizeof(sync_address));
  return static_cast<uint32_t>(Launch(name, *entry, blocks, stream, arguments, entry->argument_bytes));
}

aclError aclrtBinaryLoadFromFile(const char *path, aclrtBinaryLoadOptions *, aclrtBinHandle *binary) {
  if (path == nullptr || path[0] != '/') return Fail(ACL_ERROR_INVALID_FILE, "a kernel binary needs an absolute path");
  *binary = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  return *binary == nullptr ? Fail(ACL_ERROR_INVALID_FILE, "%s", dlerror()) : ACL_SUCCESS;
}
aclError aclrtBinaryUnLoad(aclrtBinHandle) { return stand_in::DrainAll(); }
aclError aclrtBinaryGetFunction(aclrtBinHandle binary, const char *kernel, aclrtFuncHandle *function) {
  const auto *const entry = static_cast<KernelEntry *>(dlsym(binary, (std::string("stand_in_") + kernel).c_str()));
  if (entry == nullptr) return Fail(ACL_ERROR_KERNEL_NOT_FOUND, "no kernel %s in the binary", kernel);
  *function = new Function{kernel, entry};
  return ACL_SUCCESS;
}

aclError aclrtKernelArgsInit(aclrtFuncHandle, aclrtArgsHandle *handle) {
  static thread_local Arguments arguments;
  Begin(&arguments);
  *handle = &arguments;
  return ACL_SUCCESS;
}
aclError aclrtKernelArgsAppend(aclrtArgsHandle handle, void *value, size_t bytes, aclrtParamHandle *parameter) {
  auto *const arguments = static_cast<Arguments *>(handle);
  if (arguments->complete) return Fail(ACL_ERROR_INVALID_PARAM, "an argument behind aclrtKernelArgsFinalize");
  Append(arguments, value, bytes);
  *parameter = arguments->bytes.data() + arguments->bytes.size() - bytes;
  return ACL_SUCCESS;
}
aclError aclrtKernelArgsFinalize(aclrtArgsHandle handle) {
  auto *const arguments = static_cast<Arguments *>(handle);
  void *const overflow = nullptr;
  Append(arguments, &overflow, sizeof(overflow));
  arguments->complete = true;
  return ACL_SUCCESS;
}

aclError aclrtLaunchKernel(aclrtFuncHandle handle, uint32_t blocks, const void *arguments, size_t bytes,
                           aclrtStream stream) {
  const auto *const function = static_cast<Function *>(handle);
  return Launch(function->name.c_str(), *function->entry, blocks, stream, arguments, bytes);
}
aclError aclrtLaunchKernelWithConfig(aclrtFuncHandle handle, uint32_t blocks, aclrtStream stream,
                                     aclrtLaunchKernelCfg *config, aclrtArgsHandle args, void *) {
  bool batch = false;  // all cores at once: otherwise two kernels may each wait for cores that the other holds
  for (size_t i = 0; config != nullptr && i < config->numAttrs; ++i) {
    const auto &attribute = config->attrs[i];
    batch = batch || (attribute.id == ACL_RT_LAUNCH_KERNEL_ATTR_SCHEM_MODE && attribute.value.schemMode == 1);
  }
  const auto *const function = static_cast<Function *>(handle);
  if (!batch) {
    return Fail(ACL_ERROR_INVALID_PARAM, "kernel %s without schedule mode 1: its cores wait for each other",
                function->name.c_str());
  }
  if (!static_cast<Arguments *>(args)->complete) {
    return Fail(ACL_ERROR_INVALID_PARAM, "kernel %s before aclrtKernelArgsFinalize", function->name.c_str());
  }
  const auto &bytes = static_cast<Arguments *>(args)->bytes;
  return aclrtLaunchKernel(handle, blocks, bytes.data(), bytes.size(), stream);
}

}  // extern "C"
