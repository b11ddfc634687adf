// The first kernel that runs when a window is created on an NPU. What each core writes shows that kernels run on this
// chip, that arguments arrive in their places, and that all cores run at once and meet in SyncAll.
#ifndef MOE_COMM_CANARY_H
#define MOE_COMM_CANARY_H

#include "contract/canary_lines.h"
#include "kernel/blocks.h"
#include "kernel/moves.h"
#include "kernel_arguments.h"

namespace moe_comm {

__aicore__ inline void Canary(const CanaryArguments &arguments) {
  AscendC::TPipe pipe;
  AscendC::TBuf<AscendC::TPosition::VECCALC> buffer;
  pipe.InitBuffer(buffer, kCanaryHalfBytes);
  const AscendC::LocalTensor<uint64_t> word = buffer.Get<uint64_t>();
  const uint64_t core = Block();
  const uint64_t next = (core + 1) % Blocks();
  word.SetValue(0, (static_cast<uint64_t>(arguments.high) << 32 | arguments.low) + core);
  Store(arguments.lines + core * kCanaryLineBytes, word, 1);
  AscendC::PipeBarrier<PIPE_ALL>();
  AscendC::SyncAll();
  Load(word, arguments.lines + next * kCanaryLineBytes, 1);
  Store(arguments.lines + core * kCanaryLineBytes + kCanaryHalfBytes, word, 1);
}

}  // namespace moe_comm

#endif  // MOE_COMM_CANARY_H
