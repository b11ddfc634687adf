// The flags `arrived` and `ready`: one line per rank, holding the epoch. They go to, and are awaited from, only the
// ranks with which this one exchanges rows.
#ifndef MOE_COMM_KERNEL_FLAGS_H
#define MOE_COMM_KERNEL_FLAGS_H

#include "kernel/wait.h"

namespace moe_comm {

class Flags {
 public:
  static constexpr uint32_t kTile = 256;  // ranks per look
  static constexpr uint32_t kBufferBytes = kTile * 32 + kTile * sizeof(int32_t);

  __aicore__ inline void Init(const Window *window, Failure *failure, const AscendC::LocalTensor<uint64_t> &buffer) {
    window_ = window;
    failure_ = failure;
    words_ = buffer;
    rows_ = buffer[kTile * kWordPitch].template ReinterpretCast<int32_t>();
  }

  // Writes `epoch` into this rank's line at `flags` of each rank that `table` ([R] int32 row counts) names.
  __aicore__ inline void Publish(const PartPlace &flags, const PartPlace &table, uint64_t epoch) {
    const uint32_t begin = First();
    const uint32_t end = Last();
    for (uint32_t first = begin; first < end; first += kTile) {
      const uint32_t ranks = Min(kTile, end - first);
      Load(rows_, window_->Own(table, first), ranks);
      words_.SetValue(0, epoch);
      for (uint32_t i = 0; i < ranks; ++i) {
        if (rows_.GetValue(i) > 0) Store(window_->Peer(first + i, flags(window_->rank)), words_, 1);
      }
    }
  }

  // Waits until the lines at `flags` of this rank hold `epoch` for each rank that `table` names.
  __aicore__ inline void Await(const PartPlace &flags, const PartPlace &table, uint64_t epoch, Phase phase) {
    const uint32_t begin = First();
    const uint32_t end = Last();
    MissingRanks missing;
    Wait wait(*window_, *failure_, phase, epoch);
    bool expired = false;
    for (uint32_t first = begin; first < end; first += kTile) {
      const uint32_t ranks = Min(kTile, end - first);
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
        break;  // one last look at the other tiles, to name all who are missing
      }
    }
    wait.End();
    if (!missing.None()) missing.Record(*failure_, phase, epoch);
  }

 private:
  __aicore__ inline uint32_t First() const {
    return Share(window_->world_size, AscendC::GetBlockIdx(), AscendC::GetBlockNum());
  }
  __aicore__ inline uint32_t Last() const {
    return Share(window_->world_size, AscendC::GetBlockIdx() + 1, AscendC::GetBlockNum());
  }
  __aicore__ inline bool Here(uint32_t i, uint64_t epoch) const {
    return rows_.GetValue(i) == 0 || words_.GetValue(i * kWordPitch) == epoch;
  }

  const Window *window_;
  Failure *failure_;
  AscendC::LocalTensor<uint64_t> words_;
  AscendC::LocalTensor<int32_t> rows_;
};

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_FLAGS_H
