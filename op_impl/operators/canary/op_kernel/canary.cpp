// The first kernel that runs when a window is created on an NPU. What each core writes shows that the kernels' code runs
// on this chip, that arguments arrive in their places, and that all cores run at once and meet in SyncAll.
#include "kernel_operator.h"

#include "contract/canary_lines.h"
#include "kernel/moves.h"

extern "C" __global__ __aicore__ void canary(GM_ADDR lines, uint32_t low, uint32_t high) {
  KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIV_1_0);
  AscendC::TPipe pipe;
  AscendC::TBuf<AscendC::TPosition::VECCALC> buffer;
  pipe.InitBuffer(buffer, moe_comm::kCanaryHalfBytes);
  const AscendC::LocalTensor<uint64_t> word = buffer.Get<uint64_t>();
  const uint64_t core = static_cast<uint64_t>(AscendC::GetBlockIdx());
  const uint64_t next = (core + 1) % static_cast<uint64_t>(AscendC::GetBlockNum());
  word.SetValue(0, (static_cast<uint64_t>(high) << 32 | low) + core);
  moe_comm::Store(lines + core * moe_comm::kCanaryLineBytes, word, 1);
  AscendC::PipeBarrier<PIPE_ALL>();
  AscendC::SyncAll();
  moe_comm::Load(word, lines + next * moe_comm::kCanaryLineBytes, 1);
  moe_comm::Store(lines + core * moe_comm::kCanaryLineBytes + moe_comm::kCanaryHalfBytes, word, 1);
}
