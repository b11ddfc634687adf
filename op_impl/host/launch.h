// How a kernel is launched. On the CPU the host twin runs it before the call returns. On an NPU it is queued on the
// framework's stream, without allocation, copy or wait.
#ifndef MOE_COMM_HOST_LAUNCH_H
#define MOE_COMM_HOST_LAUNCH_H

#include <cstdint>
#include <cstring>
#include <functional>

#include "host/npu.h"
#include "host_twin/fast/launch.h"
#include "kernel_entries.h"

namespace moe_comm {

// Launches on the CPU that are kept with their arguments and repeated without the host code around them, as graph
// capture and replay do on an NPU. For tests.
class Recording {
 public:
  static void Start();
  static void Stop();
  static void Replay();
  static bool Active();
  static void Add(std::function<void()> launch);
};

// A kernel's arguments as the device's compiler lays them out: each at a multiple of its size, 4 bytes at least.
template <typename KernelArguments>
class ArgumentBlock {
 public:
  explicit ArgumentBlock(const KernelArguments &arguments) {
    Apply([this](auto... values) { (Put(values), ...); }, arguments);
  }
  const uint8_t *Data() const { return data_; }
  uint64_t Bytes() const { return bytes_; }

 private:
  template <typename T>
  void Put(T argument) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "addresses and ints of 32 bits or 64");
    bytes_ = (bytes_ + sizeof(T) - 1) / sizeof(T) * sizeof(T);
    std::memcpy(data_ + bytes_, &argument, sizeof(T));
    bytes_ += sizeof(T);
  }
  alignas(8) uint8_t data_[sizeof(KernelArguments)] = {};
  uint64_t bytes_ = 0;
};

// Runs the kernel whose arguments these are on `blocks` cores. `npu_stream`: nullptr for the CPU.
template <typename KernelArguments>
void LaunchKernel(void *npu_stream, uint64_t blocks, const KernelArguments &arguments) {
  if (npu_stream == nullptr) {
    const auto launch = [=] {
      Apply([=](auto... values) {
        AscendC::backend::Launch(static_cast<int64_t>(blocks), EntryOf(arguments), values...);
      }, arguments);
    };
    launch();
    if (Recording::Active()) Recording::Add(launch);
    return;
  }
  const ArgumentBlock<KernelArguments> block(arguments);
  npu::Launch(NameOf(arguments), blocks, npu_stream, block.Data(), block.Bytes());
}

}  // namespace moe_comm

#endif  // MOE_COMM_HOST_LAUNCH_H
