// The few calls to CANN's runtime that the host needs outside of a launch. In a library built without CANN, where no
// window can lie on an NPU, they throw.
#ifndef MOE_COMM_GLUE_NPU_H
#define MOE_COMM_GLUE_NPU_H

#include <cstdint>

namespace moe_comm::npu {

// Vector cores of the device that this process uses. A kernel whose blocks wait for each other hangs on fewer.
uint64_t VectorCores();

// Address of the function aclrtlaunch_<op>(block_dim, stream, the kernel's arguments ...) that CANN has generated, from
// the kernels' library for the chip at hand; it lies beside this library. Found once, then kept.
void *KernelEntry(const char *op);

// Synchronous copies, for the creation of a window and for its errors: never in a launch.
void CopyToDevice(uint8_t *device, const void *host, uint64_t bytes);
void Clear(uint8_t *device, uint64_t bytes);
void CopyToHost(void *host, const uint8_t *device, uint64_t bytes);

}  // namespace moe_comm::npu

#endif  // MOE_COMM_GLUE_NPU_H
