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
#include "host_twin/fast/launch.h"

// The kernels' entry points on the CPU: the functions of op_kernel, compiled against the host twin.
extern "C" {
void moe_decode_dispatch(uint8_t *x, uint8_t *expert_ids, uint8_t *active_mask, uint8_t *window, uint8_t *expand_idx,
                         uint8_t *expert_token_nums, uint32_t token_num, uint32_t top_k, uint32_t id_bytes,
                         uint32_t mask_kind, uint32_t cumulative, uint32_t row_buffer_bytes);
void moe_prefill_dispatch(uint8_t *x, uint8_t *expert_ids, uint8_t *active_mask, uint8_t *window, uint8_t *expand_idx,
                          uint8_t *expert_token_nums, uint8_t *plan, uint32_t token_num, uint32_t top_k,
                          uint32_t id_bytes, uint32_t mask_kind, uint32_t cumulative, uint32_t row_buffer_bytes,
                          uint32_t batch_tokens);
void moe_decode_combine(uint8_t *expand_x, uint8_t *expert_ids, uint8_t *expert_scales, uint8_t *expand_idx,
                        uint8_t *shared_expert_x, uint8_t *window, uint8_t *y, uint32_t token_num, uint32_t top_k,
                        uint32_t id_bytes, uint32_t dtype, uint32_t tile_elements);
void moe_prefill_combine(uint8_t *expand_x, uint8_t *expert_ids, uint8_t *expert_scales, uint8_t *expand_idx,
                         uint8_t *plan, uint8_t *shared_expert_x, uint8_t *window, uint8_t *y, uint32_t token_num,
                         uint32_t top_k, uint32_t id_bytes, uint32_t dtype, uint32_t tile_elements);
}

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
