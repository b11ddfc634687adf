// How a kernel is launched: on the CPU by the host twin, before the call returns; on an NPU on the framework's stream,
// where nothing is allocated, copied or waited for on the way.
#ifndef MOE_COMM_HOST_LAUNCH_H
#define MOE_COMM_HOST_LAUNCH_H

#include <cstdint>
#include <cstring>
#include <functional>

#include "contract/kernel_entries.h"
#include "host/npu.h"
#include "host_twin/fast/launch.h"

namespace moe_comm {

// Launches on the CPU, kept with their arguments as they were and launched again with nothing of the host code around them:
// what graph capture and replay on an NPU do with a kernel. For tests.
class Recording {
 public:
  static void Start();
  static void Stop();
  static void Replay();
  static bool Active();
  static void Add(std::function<void()> launch);
};

// A kernel's arguments as the device's compiler lays them out: each at a multiple of its size, 4 bytes at least.
template <typename... Params>
class ArgumentBlock {
 public:
  explicit ArgumentBlock(Params... arguments) { (Put(arguments), ...); }
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
  alignas(8) uint8_t data_[8 * sizeof...(Params)] = {};
  uint64_t bytes_ = 0;
};

// Runs `kernel`, whose name is `op`, on `blocks` cores. `npu_stream`: nullptr for the CPU.
template <typename... Params, typename... Args>
void LaunchKernel(void *npu_stream, uint64_t blocks, const char *op, void (*kernel)(Params...), Args... args) {
  if (npu_stream == nullptr) {
    const auto launch = [=] { AscendC::backend::Launch(static_cast<int64_t>(blocks), kernel, args...); };
    launch();
    if (Recording::Active()) Recording::Add(launch);
    return;
  }
  const ArgumentBlock<Params...> arguments(args...);
  npu::Launch(op, blocks, npu_stream, arguments.Data(), arguments.Bytes());
}

}  // namespace moe_comm

#endif  // MOE_COMM_HOST_LAUNCH_H
