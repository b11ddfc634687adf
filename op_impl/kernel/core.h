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

// This block's number, and its share of what the blocks of a launch do together.
__aicore__ inline uint32_t Block() { return static_cast<uint32_t>(AscendC::GetBlockIdx()); }
__aicore__ inline uint32_t Blocks() { return static_cast<uint32_t>(AscendC::GetBlockNum()); }
__aicore__ inline bool IsFirstBlock() { return Block() == 0; }

struct Span {
  uint32_t begin;
  uint32_t end;
};
__aicore__ inline Span ShareOf(uint64_t total) {
  return {Share(total, Block(), Blocks()), Share(total, Block() + 1, Blocks())};
}

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_CORE_H
