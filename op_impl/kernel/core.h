// What every step of a kernel works with: the window, and the errors of this launch.
#ifndef MOE_COMM_KERNEL_CORE_H
#define MOE_COMM_KERNEL_CORE_H

#include "kernel/failure.h"

namespace moe_comm {

struct Core {
  __aicore__ inline void Init(GM_ADDR base, AscendC::TPipe *pipe_of_kernel) {
    pipe = pipe_of_kernel;
    pipe->InitBuffer(header_buffer, Window::kBufferWords * sizeof(uint64_t));
    pipe->InitBuffer(failure_buffer, Failure::kBufferWords * sizeof(int64_t));
    window.Init(base, header_buffer.Get<uint64_t>());
    failure.Init(&window, failure_buffer.Get<int64_t>());
  }

  Window window;
  Failure failure;
  AscendC::TPipe *pipe;
  AscendC::TBuf<AscendC::TPosition::VECCALC> header_buffer;
  AscendC::TBuf<AscendC::TPosition::VECCALC> failure_buffer;
};

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_CORE_H
