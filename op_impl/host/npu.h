// The few calls to CANN's runtime that the host needs. They go to the Ascend part of the package (ascend_part.h), and
// throw std::runtime_error where there is none, or with the name of the call that failed, CANN's code and its words.
#ifndef MOE_COMM_HOST_NPU_H
#define MOE_COMM_HOST_NPU_H

#include <cstdint>

#include "host/ascend_part.h"

namespace moe_comm::npu {

// The number of vector cores of this process's device. A kernel hangs if its blocks wait for each other and there are
// more blocks than cores.
inline uint64_t VectorCores() { return Ascend().vector_cores(); }

// Queues the kernel `op` on `stream` for `blocks` cores, which begin together. `arguments`: the kernel's, as the
// device's compiler lays them out.
inline void Launch(const char *op, uint64_t blocks, void *stream, const uint8_t *arguments, uint64_t bytes) {
  Ascend().launch(op, blocks, stream, arguments, bytes);
}

// Runs the kernel on a stream of its own and waits for its end, 10 s at most. Never called in a launch.
inline void RunAlone(const char *op, uint64_t blocks, const uint8_t *arguments, uint64_t bytes) {
  Ascend().run_alone(op, blocks, arguments, bytes);
}

// Synchronous copies, for the creation of a window and for its errors. Never called in a launch.
inline void CopyToDevice(uint8_t *device, const void *host, uint64_t bytes) {
  Ascend().copy_to_device(device, host, bytes);
}
inline void Clear(uint8_t *device, uint64_t bytes) { Ascend().clear(device, bytes); }
inline void CopyToHost(void *host, const uint8_t *device, uint64_t bytes) {
  Ascend().copy_to_host(host, device, bytes);
}

}  // namespace moe_comm::npu

#endif  // MOE_COMM_HOST_NPU_H
