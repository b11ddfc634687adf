// Decode dispatch has few tokens, so the number of one-way latencies matters. There are two: counts, then rows.
#ifndef MOE_COMM_MOE_DECODE_DISPATCH_H
#define MOE_COMM_MOE_DECODE_DISPATCH_H

#include "kernel/dispatch.h"

namespace moe_comm {

class DecodeDispatch : private Dispatch {
 public:
  __aicore__ inline void Init(const MoeDecodeDispatchArguments &arguments, AscendC::TPipe *pipe) {
    Dispatch::Init(arguments, nullptr, false, pipe);
  }

  __aicore__ inline void Process() {
    const bool counted = Count();
    const bool fits = Exchange(counted);
    Delivery delivery = OwnDelivery(core_.window.layout);
    if (fits) {
      if (balance_.On()) delivery = FindBringers();
      Place();
    }
    Complete(fits, delivery);
  }

 private:
  // Ranks in prefill may bring rows of others. This rank moves its own.
  __aicore__ inline Delivery FindBringers() {
    if (IsFirstBlock()) balance_.DeriveBringers(live_, exchange_.Number());
    return balance_.Balanced();
  }

  // Each block places the tokens that it has counted.
  __aicore__ inline void Place() {
    const Span own = ShareOf(TokenNum());
    tile_.Begin(page_, Block(), {own.begin, own.begin});
    for (uint32_t first = own.begin; first < own.end; first += Tile::kTokens) {
      tile_.Assign(page_, first, Min(Tile::kTokens, own.end - first));
      for (uint32_t token = 0; token < tile_.Tokens(); ++token) {
        placement_.Move(placement_.RowOf(first + token), tile_.PlacesOf(token));
      }
    }
  }
};

__aicore__ inline void MoeDecodeDispatch(const MoeDecodeDispatchArguments &arguments) {
  AscendC::TPipe pipe;
  DecodeDispatch kernel;
  kernel.Init(arguments, &pipe);
  kernel.Process();
}

}  // namespace moe_comm

#endif  // MOE_COMM_MOE_DECODE_DISPATCH_H
