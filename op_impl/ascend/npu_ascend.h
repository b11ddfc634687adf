// Compiled only with CANN.
#ifndef MOE_COMM_ASCEND_NPU_ASCEND_H
#define MOE_COMM_ASCEND_NPU_ASCEND_H

#include "host/ascend_part.h"

namespace moe_comm::npu {

uint64_t VectorCores();

// How many kernels this process has launched. A replayed graph runs its kernels without a launch.
uint64_t Launches();
void CopyToHost(void *host, const uint8_t *device, uint64_t bytes);

// The calls that npu.h makes.
void Fill(AscendPart *part);

}  // namespace moe_comm::npu

#endif  // MOE_COMM_ASCEND_NPU_ASCEND_H
