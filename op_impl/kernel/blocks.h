// This block's number, and its share of what the blocks of a launch do together.
#ifndef MOE_COMM_KERNEL_BLOCKS_H
#define MOE_COMM_KERNEL_BLOCKS_H

#include "kernel_operator.h"

namespace moe_comm {

__aicore__ inline uint32_t Block() { return static_cast<uint32_t>(AscendC::GetBlockIdx()); }
__aicore__ inline uint32_t Blocks() { return static_cast<uint32_t>(AscendC::GetBlockNum()); }
__aicore__ inline bool IsFirstBlock() { return Block() == 0; }

// Where share `index` of `parts` equal shares of `total` begins. Share i is Share(i) .. Share(i + 1).
__aicore__ inline uint32_t Share(uint64_t total, uint64_t index, uint64_t parts) {
  return static_cast<uint32_t>(total * index / parts);
}

struct Span {
  uint32_t begin;
  uint32_t end;
};
__aicore__ inline Span ShareOf(uint64_t total) {
  return {Share(total, Block(), Blocks()), Share(total, Block() + 1, Blocks())};
}

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_BLOCKS_H
