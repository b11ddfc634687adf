// How an operator's glue launches its kernel: on the CPU by the host twin, before the call returns; on an NPU through
// the entry point that CANN generates for the kernel, on the framework's stream. Nothing is allocated, copied or waited
// for on the way to the NPU.
#ifndef MOE_COMM_GLUE_LAUNCH_H
#define MOE_COMM_GLUE_LAUNCH_H

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

#include "common/glue/npu.h"
#include "common/kernel_entries.h"
#include "host_twin/fast/launch.h"

namespace moe_comm {

// Launches on the CPU, kept with their arguments as they were and launched again with nothing of the glue around them:
// what graph capture and replay on an NPU do with a kernel. For tests.
class Recording {
 public:
  static void Start();
  static void Stop();
  static void Replay();
  static bool Active();
  static void Add(std::function<void()> launch);
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
  using Entry = uint32_t (*)(uint32_t block_dim, void *stream, Params...);  // as CANN generates it
  const uint32_t code = reinterpret_cast<Entry>(npu::KernelEntry(op))(static_cast<uint32_t>(blocks), npu_stream,
                                                                      args...);
  if (code != 0) {
    throw std::runtime_error("'" + std::string(op) + "' could not be launched on " + std::to_string(blocks) +
                             " cores: ACL error " + std::to_string(code) + ".");
  }
}

}  // namespace moe_comm

#endif  // MOE_COMM_GLUE_LAUNCH_H
