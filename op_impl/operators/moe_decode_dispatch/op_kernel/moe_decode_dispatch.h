// Decode dispatch: few tokens, so what counts is the number of one-way latencies: counts, then rows.
#ifndef MOE_COMM_MOE_DECODE_DISPATCH_H
#define MOE_COMM_MOE_DECODE_DISPATCH_H

#include "kernel/balance.h"
#include "kernel/dispatch.h"

namespace moe_comm {

class DecodeDispatch : public Dispatch {
 public:
  __aicore__ inline void Init(const MoeDecodeDispatchArguments &arguments, AscendC::TPipe *pipe) {
    Dispatch::Init(arguments, nullptr, false, pipe);
    balance_.Init(&window, &routes, &live_, nullptr, pipe);
  }

  __aicore__ inline void Process() {
    if (Plan()) {
      if (balance_.On()) FindBringers();
      Place();
    }
    Complete();
  }

 private:
  // Ranks that are in prefill may bring rows of others. This one moves its own.
  __aicore__ inline void FindBringers() {
    if (AscendC::GetBlockIdx() == 0) balance_.DeriveBringers(exchange.Number());
    brings_to = window.layout.moves;
    brought_by = window.layout.bringers;
  }

  // Each block places the tokens that it has counted.
  __aicore__ inline void Place() {
    const uint32_t block = static_cast<uint32_t>(AscendC::GetBlockIdx());
    const uint32_t blocks = static_cast<uint32_t>(AscendC::GetBlockNum());
    const uint32_t begin = Share(routes.TokenNum(), block, blocks);
    const uint32_t end = Share(routes.TokenNum(), block + 1, blocks);
    next_rows.Begin(block, begin, begin);
    for (uint32_t first = begin; first < end; first += Routes::kTileTokens) {
      const uint32_t tokens = Min(Routes::kTileTokens, end - first);
      routes.LoadTile(first, tokens);
      next_rows.Assign(tokens, indices);
      for (uint32_t token = 0; token < tokens; ++token) placement.MoveToken(first, token, indices);
      StoreIndices(first, tokens);
    }
  }

  Balance balance_;
};

__aicore__ inline void MoeDecodeDispatch(const MoeDecodeDispatchArguments &arguments) {
  AscendC::TPipe pipe;
  DecodeDispatch kernel;
  kernel.Init(arguments, &pipe);
  kernel.Process();
}

}  // namespace moe_comm

#endif  // MOE_COMM_MOE_DECODE_DISPATCH_H
