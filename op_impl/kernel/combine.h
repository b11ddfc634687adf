// What both combine kernels share: everything but the split of the tiles over the blocks.
#ifndef MOE_COMM_KERNEL_COMBINE_H
#define MOE_COMM_KERNEL_COMBINE_H

#include "contract/plan_layout.h"
#include "kernel/flags.h"
#include "kernel/reduction.h"
#include "kernel/stopwatch.h"
#include "kernel/visit_dtype.h"

namespace moe_comm {

// A combine brings its outputs, tells the peers that they are there, waits for the peers' outputs, and reduces.
template <typename T>
class Combine {
 public:
  // `plan_words`: how many words of the plan the kernel uses, at least the header.
  __aicore__ inline void Init(const CombineArguments &arguments, uint32_t plan_words, AscendC::TPipe *pipe) {
    arguments_ = arguments;
    core_.Init(arguments.window, pipe);
    pipe->InitBuffer(plan_buffer_, plan_words * sizeof(int32_t));
    pipe->InitBuffer(copy_, 2, kCopyBytes);
    stopwatch_.Init(&core_.window);
    flags_.Init(core_);
    reduction_.Init(core_, arguments);
    CheckDispatch();
    plan_ = plan_buffer_.Get<int32_t>();
    if (!Idle()) CheckPlan(plan_words);
  }

  // True once this rank may read the expert outputs of every rank that holds rows of its tokens.
  __aicore__ inline bool Open() {
    const Window &window = core_.window;
    if (!Idle()) BringOutputs();
    const bool brought = core_.failure.Barrier();  // every block's outputs are in place
    stopwatch_.Lap(kOutputsCycles);
    if (brought && !no_rows_) {
      if (IsFirstBlock()) {  // not before the barrier, where others may still load the header
        window.SetField(kCombinedEpoch, window.epoch);
        window.SetField(kCopiedBytes, CopiedBytes());
      }
      flags_.Publish(window.layout.ready, window.layout.sources, window.epoch);
      flags_.Await(window.layout.ready, window.layout.destinations, window.epoch, kWaitReady);
    }
    const bool ready = core_.failure.Barrier();  // each block has waited for its share of the ranks
    stopwatch_.Lap(kReadyCycles);
    return ready && !no_rows_;
  }

  __aicore__ inline uint64_t TilesPerToken() const { return reduction_.TilesPerToken(); }
  // Reduces the tiles begin .. end of all tokens' tiles, in row-major order.
  __aicore__ inline void Reduce(uint64_t begin, uint64_t end) { reduction_.Reduce(begin, end); }
  __aicore__ inline int32_t Plan(uint32_t word) const { return plan_.GetValue(word); }

  // The last step, whether anything was opened or not.
  __aicore__ inline void Close() {
    if (core_.window.keeps_stats && !Idle()) {
      stopwatch_.Lap(kReduceCycles);
      stopwatch_.Add(kReadBytes, stopwatch_.RowsAway(plan_, kPlanHeaderWords) * core_.window.shape.row_bytes);
    }
    AscendC::PipeBarrier<PIPE_ALL>();
  }

 private:
  static constexpr uint32_t kCopyBytes = 16 * 1024;

  __aicore__ inline bool Idle() const { return no_rows_ || core_.failure.Failed(); }

  // Comes first: after a dispatch that placed nothing, expand_idx and plan have no content. If its rows did not fit,
  // this combine does nothing, on all ranks alike. It was launched only since the host has not seen the verdict yet.
  __aicore__ inline void CheckDispatch() {
    const Window &window = core_.window;
    const bool placed = window.epoch != 0 && window.placed_epoch == window.epoch;
    no_rows_ = !placed && window.untold_verdict;
    if (Idle() || (placed && window.combined_epoch != window.epoch)) return;
    const NoDispatch error = {static_cast<int64_t>(window.epoch), static_cast<int64_t>(window.placed_epoch),
                              static_cast<int64_t>(window.combined_epoch)};
    core_.failure.Record(kReadInput, window.epoch, error);
  }

  __aicore__ inline void CheckPlan(uint32_t plan_words) {
    const Window &window = core_.window;
    Load(plan_, arguments_.plan, plan_words);
    const uint64_t epoch = static_cast<uint32_t>(plan_.GetValue(kPlanEpochLow)) |
                           static_cast<uint64_t>(static_cast<uint32_t>(plan_.GetValue(kPlanEpochHigh))) << 32;
    const uint32_t tokens = static_cast<uint32_t>(plan_.GetValue(kPlanTokens));
    const uint32_t top_k = static_cast<uint32_t>(plan_.GetValue(kPlanTopK));
    if (epoch == window.epoch && tokens == arguments_.token_num && top_k == arguments_.top_k) return;
    const PlanMismatch error = {static_cast<int64_t>(epoch), tokens, top_k, static_cast<int64_t>(window.epoch)};
    core_.failure.Record(kReadInput, window.epoch, error);
  }

  __aicore__ inline GM_ADDR Outputs() const { return core_.window.Own(core_.window.layout.outputs); }
  __aicore__ inline uint64_t CopiedBytes() const {
    return arguments_.expand_x == Outputs() ? 0 : core_.window.received_rows * core_.window.shape.row_bytes;
  }

  // Expert outputs that a matmul has left elsewhere are copied into the window once.
  __aicore__ inline void BringOutputs() {
    const uint64_t lines = CopiedBytes() / kRowAlign;
    const uint64_t block = Block();
    const uint64_t end = lines * (block + 1) / Blocks() * kRowAlign;
    AscendC::GlobalTensor<uint16_t> from;
    AscendC::GlobalTensor<uint16_t> to;
    from.SetGlobalBuffer(reinterpret_cast<__gm__ uint16_t *>(arguments_.expand_x));
    to.SetGlobalBuffer(reinterpret_cast<__gm__ uint16_t *>(Outputs()));
    for (uint64_t at = lines * block / Blocks() * kRowAlign; at < end; at += kCopyBytes) {
      const uint32_t piece = end - at < kCopyBytes ? static_cast<uint32_t>(end - at) : kCopyBytes;
      const AscendC::DataCopyExtParams move(1, piece, 0, 0, 0);
      const AscendC::DataCopyPadExtParams<uint16_t> no_padding;
      AscendC::LocalTensor<uint16_t> buffer = copy_.template AllocTensor<uint16_t>();
      AscendC::DataCopyPad(buffer, from[at / sizeof(uint16_t)], move, no_padding);
      copy_.EnQue(buffer);
      buffer = copy_.template DeQue<uint16_t>();
      AscendC::DataCopyPad(to[at / sizeof(uint16_t)], buffer, move);
      copy_.FreeTensor(buffer);
    }
  }

  CombineArguments arguments_;
  Core core_;
  Stopwatch stopwatch_;
  Flags flags_;
  Reduction<T> reduction_;
  bool no_rows_ = false;
  AscendC::LocalTensor<int32_t> plan_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> plan_buffer_;
  AscendC::TQueBind<AscendC::TPosition::VECIN, AscendC::TPosition::VECOUT, 2> copy_;
};

template <typename Split>
struct CombineWith {
  const CombineArguments &arguments;
  template <typename T>
  __aicore__ inline void Visit() const {
    AscendC::TPipe pipe;
    Combine<T> combine;
    combine.Init(arguments, Split::kPlanWords, &pipe);
    if (combine.Open()) Split::Reduce(combine, arguments.token_num);
    combine.Close();
  }
};

// Replaces a combine whose dtype is not in the table.
__aicore__ inline void RefuseDtype(const CombineArguments &arguments) {
  AscendC::TPipe pipe;
  Core core;
  core.Init(arguments.window, &pipe);
  core.failure.Record(kReadInput, core.window.epoch, UnknownDtype{arguments.dtype});
}

// Runs a combine. `Split` has the number of words of the plan that it uses, and reduces this block's tiles.
template <typename Split>
__aicore__ inline void RunCombine(const CombineArguments &arguments) {
  if (!VisitDtype(arguments.dtype, CombineWith<Split>{arguments})) RefuseDtype(arguments);
}

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_COMBINE_H
