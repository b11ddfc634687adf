// An error in a block is recorded for the host, told to every peer, and carried over the barriers of this rank.
#ifndef MOE_COMM_KERNEL_FAILURE_H
#define MOE_COMM_KERNEL_FAILURE_H

#include "kernel/window.h"

namespace moe_comm {

// A block that failed does no more work but still joins every barrier, or its neighbours would hang there.
// A record stays in the window. The window is then dead until the ranks make a new one together, or resume.
class Failure {
 public:
  static constexpr uint32_t kBufferWords = kMaxBlocks * kWordPitch;

  __aicore__ inline void Init(const Window *window, const AscendC::LocalTensor<int64_t> &buffer) {
    window_ = window;
    buffer_ = buffer;
    failed_ = AnyRecord();
  }

  __aicore__ inline bool Failed() const { return failed_; }

  // Only the first error of a block counts. Peers learn it at once, not one deadline later.
  template <typename Error>
  __aicore__ inline void Record(Phase phase, uint64_t epoch, const Error &error) {
    if (failed_) return;
    failed_ = true;
    buffer_.SetValue(kCode, CodeOf<Error>::kValue);
    buffer_.SetValue(kPhase, static_cast<int64_t>(phase));
    buffer_.SetValue(kRecordEpoch, static_cast<int64_t>(epoch));
    const int64_t *fields = reinterpret_cast<const int64_t *>(&error);
    constexpr uint32_t kFields = sizeof(Error) / sizeof(int64_t);
    for (uint32_t i = 0; i < kMaxErrorFields; ++i) buffer_.SetValue(kErrorFields + i, i < kFields ? fields[i] : 0);
    Store(window_->Own(window_->layout.records, Block()), buffer_, kRecordWords);
    const uint64_t line = window_->layout.aborted(window_->rank);
    for (uint32_t peer = 0; peer < window_->world_size; ++peer) {
      if (window_->TookPart(peer)) Store(window_->Peer(peer, line), buffer_, kRecordWords);
    }
  }

  // Adopts the error of a peer that has given up, if any. `missing`: a rank that this rank waits for.
  __aicore__ inline void CheckPeers(Phase phase, uint64_t epoch, uint32_t missing) {
    for (uint32_t first = 0; first < window_->world_size && !failed_; first += kMaxBlocks) {
      const uint32_t lines = Min(kMaxBlocks, window_->world_size - first);
      LoadStrided(buffer_, window_->Own(window_->layout.aborted, first), 1, lines, kLineBytes);
      for (uint32_t i = 0; i < lines && !failed_; ++i) {
        if (buffer_.GetValue(i * kWordPitch) != kNoError && window_->TookPart(first + i))
          Adopt(first + i, phase, epoch, missing);
      }
    }
  }

  // The barrier of this rank's blocks. After it, every block sees what any block wrote before. False if any failed.
  __aicore__ inline bool Barrier() {
    AscendC::PipeBarrier<PIPE_ALL>();
    AscendC::SyncAll();
    failed_ = AnyRecord() || failed_;
    return !failed_;
  }

 private:
  __aicore__ inline bool AnyRecord() {
    const uint32_t blocks = static_cast<uint32_t>(window_->shape.block_dim);  // includes blocks of earlier launches
    LoadStrided(buffer_, window_->Own(window_->layout.records), 1, blocks, kLineBytes);
    for (uint32_t block = 0; block < blocks; ++block) {
      if (buffer_.GetValue(block * kWordPitch) != kNoError) return true;
    }
    return false;
  }

  __aicore__ inline void Adopt(uint32_t peer, Phase phase, uint64_t epoch, uint32_t missing) {
    if (peer == window_->rank) {  // another block of this rank has failed, and its record says why
      failed_ = true;
      return;
    }
    Load(buffer_, window_->Own(window_->layout.aborted, peer), kRecordWords);
    const PeerAborted error = {missing, peer, buffer_.GetValue(kCode), buffer_.GetValue(kPhase),
                               buffer_.GetValue(kBlamedRank)};
    Record(phase, epoch, error);
  }

  const Window *window_;
  AscendC::LocalTensor<int64_t> buffer_;
  bool failed_;
};

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_FAILURE_H
