// What both dispatch kernels share. A dispatch counts its tokens, exchanges the counts with all ranks, places its rows,
// and completes: it tells the ranks to which it has brought rows, and waits for the ranks that bring it rows.
#ifndef MOE_COMM_KERNEL_DISPATCH_H
#define MOE_COMM_KERNEL_DISPATCH_H

#include "contract/plan_layout.h"
#include "kernel/balance.h"
#include "kernel/counting.h"
#include "kernel/delivery.h"
#include "kernel/exchange.h"
#include "kernel/flags.h"
#include "kernel/stopwatch.h"
#include "kernel/tile.h"
#include "kernel_arguments.h"

namespace moe_comm {

class Dispatch {
 protected:
  // `kept_plan`: null, or the plan of the dispatch before, whose counts hold for this one too.
  __aicore__ inline void Init(const DispatchArguments &arguments, GM_ADDR kept_plan, bool prefill,
                              AscendC::TPipe *pipe) {
    arguments_ = arguments;
    kept_plan_ = kept_plan;
    core_.Init(arguments.window, pipe);
    pipe->InitBuffer(words_buffer_, kPlanHeaderWords * sizeof(int32_t));
    words_ = words_buffer_.Get<int32_t>();
    if (BytesOf(core_.window.dtype) == 0) {
      core_.failure.Record(kReadInput, core_.window.epoch, UnknownDtype{core_.window.dtype});
    }
    flags_.Init(core_);
    stopwatch_.Init(&core_.window);
    live_.Init(core_, arguments.rank_mask);
    tile_.Init(core_, &live_, arguments);
    page_.Init(core_);
    counting_.Init(core_);
    exchange_.Init(core_);
    placement_.Init(core_, arguments);
    balance_.Init(core_, prefill);
    prefill_ = prefill;
  }

  // Step 1: each block counts its share of the tokens. True if all blocks have counted.
  __aicore__ inline bool Count() {
    Failure &failure = core_.failure;
    if (!failure.Failed()) live_.Check(exchange_.Epoch(), failure);
    if (Keeps() && !failure.Failed()) CheckKeptPlan();
    if (!failure.Failed()) {
      counting_.Count(tile_.GetRoutes(), page_, ShareOf(TokenNum()), exchange_.Epoch());
    }
    const bool counted = failure.Barrier();
    stopwatch_.Lap(kCountCycles);
    return counted;
  }

  // Step 2: if all blocks have counted, the ranks exchange their counts. True if this rank's tables then give every row
  // index. False if no row may move.
  __aicore__ inline bool Exchange(bool counted) {
    if (counted && Keeps()) {
      CheckKept(PlanFault::kOtherRouting, kPlanRouting, static_cast<int32_t>(counting_.Routing()));
      exchange_.Announce(Agreement());
      if (IsFirstBlock()) exchange_.ReportKept(arguments_.expert_token_nums, Cumulative());
    } else if (counted) {
      const uint32_t agreement = Agreement();
      exchange_.Publish(page_, agreement);
      exchange_.Collect(agreement, arguments_.expert_token_nums, Cumulative());
    }
    const bool exchanged = core_.failure.Barrier();
    stopwatch_.Lap(kExchangeCycles);
    return exchanged && (Keeps() || exchange_.Fits());
  }

  // Each kernel has its own step 3; `placed` says whether it was done. Step 4: once every block has written its rows,
  // tell the destinations, and wait for the sources.
  __aicore__ inline void Complete(bool placed, const Delivery &delivery) {
    placed = core_.failure.Barrier() && placed;
    stopwatch_.Lap(kPlaceCycles);
    if (placed) {
      flags_.Publish(core_.window.layout.arrived, delivery.to, exchange_.Epoch());
      if (IsFirstBlock()) StorePlanHeader();  // here, where the block would only wait
      flags_.Await(core_.window.layout.arrived, delivery.from, exchange_.Epoch(), kWaitArrived);
    }
    if (IsFirstBlock()) {
      if (!placed) exchange_.ReportNothing(arguments_.expert_token_nums);
      if (!core_.failure.Failed()) Finish(placed);
    }
    AscendC::PipeBarrier<PIPE_ALL>();
  }

  __aicore__ inline uint32_t TokenNum() const { return arguments_.token_num; }

  __aicore__ inline void StorePlan(uint64_t word, const AscendC::LocalTensor<int32_t> &words, uint32_t count) {
    Store(arguments_.plan + word * sizeof(int32_t), words, count);
  }

  Core core_;
  LiveRanks live_;
  SlotPage page_;
  Tile tile_;
  Counting counting_;
  moe_comm::Exchange exchange_;
  Flags flags_;
  Placement placement_;
  Balance balance_;

 private:
  __aicore__ inline bool Keeps() const { return kept_plan_ != nullptr; }
  __aicore__ inline bool Cumulative() const { return arguments_.expert_token_nums_type == 0; }

  // The word of agreement: the arguments that must be the same on all ranks, and the phase, which may differ. If the
  // arguments differed, ranks would misread the rows that they get. A rank that quantises a row for another uses its
  // own smooth factors.
  __aicore__ inline uint32_t Agreement() const {
    const uint64_t map_hash = counting_.MapHash(tile_.GetRoutes());
    uint32_t word = static_cast<uint32_t>((map_hash ^ (map_hash >> kMapHashBits)) & ((1u << kMapHashBits) - 1));
    word |= live_.Hash() << kMapHashBits | arguments_.quant_mode << kQuantModeShift;
    if (balance_.On()) word |= arguments_.smooth_kind << kSmoothKindShift;
    if (Keeps()) word |= kKeepsPlan;
    return prefill_ ? word | kInPrefill : word;
  }

  __aicore__ inline void Finish(bool placed) {
    stopwatch_.Lap(kArriveCycles);
    if (placed && core_.window.keeps_stats) {
      const uint64_t rows = stopwatch_.RowsAway(tile_.Rows(), Routes::kTilePairs);
      stopwatch_.Add(kSentRows, rows);
      stopwatch_.Add(kSentBytes, rows * placement_.RowBytes());
    }
    live_.Keep();
    if (placed && !live_.All()) core_.window.AddTo(FieldOffset(kLostPairs), counting_.LostPairs());
    exchange_.Finish(placed);
  }

  // A dispatch that keeps a plan exchanges no counts. So this rank's tables must still be those of the plan, and only
  // the combine before shows that the peers are done with the rows in their windows.
  __aicore__ inline void CheckKeptPlan() {
    const Window &window = core_.window;
    Load(words_, kept_plan_, kPlanFields);
    for (uint32_t i = 0; i < kPlanFields; ++i) kept_[i] = words_.GetValue(i);
    const uint64_t exchange_number = static_cast<uint32_t>(kept_[kPlanExchangeLow]) |
                                     static_cast<uint64_t>(static_cast<uint32_t>(kept_[kPlanExchangeHigh])) << 32;
    if (exchange_number != window.exchange) RecordKept(PlanFault::kOtherExchange, exchange_number, window.exchange);
    const bool combined = window.placed_epoch == window.epoch && window.combined_epoch == window.epoch;
    if (!combined) RecordKept(PlanFault::kNotCombined, window.combined_epoch, window.epoch);
    CheckKept(PlanFault::kOtherTokenNum, kPlanTokens, static_cast<int32_t>(TokenNum()));
    CheckKept(PlanFault::kOtherColumns, kPlanColumns, static_cast<int32_t>(tile_.GetRoutes().Columns()));
    CheckKept(PlanFault::kOtherQuantMode, kPlanQuantMode, static_cast<int32_t>(arguments_.quant_mode));
    if (live_.Changed()) RecordKept(PlanFault::kOtherRanks, 0, 0);
  }
  __aicore__ inline void CheckKept(PlanFault fault, uint32_t field, int32_t value) {
    if (kept_[field] != value) RecordKept(fault, static_cast<uint64_t>(kept_[field]), static_cast<uint64_t>(value));
  }
  __aicore__ inline void RecordKept(PlanFault fault, uint64_t kept, uint64_t value) {
    const KeptPlanBroken error = {fault, static_cast<int64_t>(kept), static_cast<int64_t>(value)};
    core_.failure.Record(kReadInput, exchange_.Epoch(), error);
  }

  __aicore__ inline void StorePlanHeader() {
    words_.SetValue(kPlanEpochLow, static_cast<int32_t>(exchange_.Epoch() & 0xffffffffULL));
    words_.SetValue(kPlanEpochHigh, static_cast<int32_t>(exchange_.Epoch() >> 32));
    words_.SetValue(kPlanTokens, static_cast<int32_t>(TokenNum()));
    words_.SetValue(kPlanTopK, static_cast<int32_t>(arguments_.top_k));
    words_.SetValue(kPlanBlocks, static_cast<int32_t>(Blocks()));
    words_.SetValue(kPlanExchangeLow, static_cast<int32_t>(exchange_.Number() & 0xffffffffULL));
    words_.SetValue(kPlanExchangeHigh, static_cast<int32_t>(exchange_.Number() >> 32));
    words_.SetValue(kPlanColumns, static_cast<int32_t>(tile_.GetRoutes().Columns()));
    words_.SetValue(kPlanQuantMode, static_cast<int32_t>(arguments_.quant_mode));
    words_.SetValue(kPlanRouting, static_cast<int32_t>(counting_.Routing()));
    StorePlan(0, words_, kPlanFields);
  }

  DispatchArguments arguments_;
  GM_ADDR kept_plan_;
  bool prefill_;
  int32_t kept_[kPlanFields];  // header words of the kept plan
  Stopwatch stopwatch_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> words_buffer_;
  AscendC::LocalTensor<int32_t> words_;
};

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_DISPATCH_H
