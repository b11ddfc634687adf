// How the CPU launches the kernels: the functions of op_kernel, compiled against the host twin's fast form.
#ifndef MOE_COMM_GLUE_CPU_KERNELS_H
#define MOE_COMM_GLUE_CPU_KERNELS_H

#include <cstdint>

#include "common/kernel_entries.h"
#include "host_twin/fast/launch.h"

namespace moe_comm {

template <typename Kernel, typename... Args>
void LaunchKernel(uint64_t blocks, Kernel kernel, Args... args) {
  AscendC::backend::Launch(static_cast<int64_t>(blocks), kernel, args...);
}

}  // namespace moe_comm

#endif  // MOE_COMM_GLUE_CPU_KERNELS_H
