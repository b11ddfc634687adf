// The flags `arrived`, `ready` and `handed`: one line per rank, which holds the epoch. A rank sends them to, and awaits
// them from, only the ranks with which it exchanges rows.
#ifndef MOE_COMM_KERNEL_FLAGS_H
#define MOE_COMM_KERNEL_FLAGS_H

#include "kernel/core.h"
#include "kernel/wait.h"

namespace moe_comm {

class Flags {
 public:
  static constexpr uint32_t kTile = 256;  // ranks per load

  __aicore__ inline void Init(Core &core) {
    window_ = &core.window;
    failure_ = &core.failure;
    core.pipe->InitBuffer(buffer_, kTile * 32 + kTile * sizeof(int32_t));
    words_ = buffer_.Get<uint64_t>();
    rows_ = words_[kTile * kWordPitch].template ReinterpretCast<int32_t>();
  }

  // Writes `epoch` into this rank's line at `flags` of each rank that `table` ([R] int32 row counts) names.
  __aicore__ inline void Publish(const PartPlace &flags, const PartPlace &table, uint64_t epoch) {
    const Span own = ShareOf(window_->world_size);
    for (uint32_t first = own.begin; first < own.end; first += kTile) {
      const uint32_t ranks = Min(kTile, own.end - first);
      Load(rows_, window_->Own(table, first), ranks);
      words_.SetValue(0, epoch);
      for (uint32_t i = 0; i < ranks; ++i) {
        if (rows_.GetValue(i) > 0) Store(window_->Peer(first + i, flags(window_->rank)), words_, 1);
      }
    }
  }

  // Waits until the lines at `flags` of this rank hold `epoch` for each rank that `table` names.
  __aicore__ inline void Await(const PartPlace &flags, const PartPlace &table, uint64_t epoch, Phase phase) {
    const Span own = ShareOf(window_->world_size);
    MissingRanks missing;
    Wait wait(*window_, *failure_, phase, epoch);
    bool expired = false;
    for (uint32_t first = own.begin; first < own.end; first += kTile) {
      const uint32_t ranks = Min(kTile, own.end - first);
      Load(rows_, window_->Own(table, first), ranks);
      for (;;) {
        LoadStrided(words_, window_->Own(flags, first), 1, ranks, kLineBytes);
        uint32_t here = 0;
        while (here < ranks && Here(here, epoch)) ++here;
        if (here == ranks) break;
        expired = expired || wait.Expired(first + here);
        if (!expired) continue;
        if (failure_->Failed()) return;
        for (uint32_t i = 0; i < ranks; ++i) {
          if (!Here(i, epoch)) missing.Add(first + i);
        }
        break;  // a last look at the other tiles finds all missing ranks
      }
    }
    wait.End();
    if (!missing.None()) missing.Record(*failure_, phase, epoch);
  }

 private:
  __aicore__ inline bool Here(uint32_t i, uint64_t epoch) const {
    return rows_.GetValue(i) == 0 || words_.GetValue(i * kWordPitch) == epoch;
  }

  const Window *window_;
  Failure *failure_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> buffer_;
  AscendC::LocalTensor<uint64_t> words_;
  AscendC::LocalTensor<int32_t> rows_;
};

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_FLAGS_H
