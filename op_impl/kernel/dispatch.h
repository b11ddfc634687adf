// What both dispatch kernels share: their parts, and the steps around the placement.
#ifndef MOE_COMM_KERNEL_DISPATCH_H
#define MOE_COMM_KERNEL_DISPATCH_H

#include "contract/plan_layout.h"
#include "kernel/exchange.h"
#include "kernel/flags.h"
#include "kernel/next_rows.h"
#include "kernel/placement.h"
#include "kernel/stopwatch.h"
#include "kernel_arguments.h"

namespace moe_comm {

class Dispatch {
 public:
  // `kept_plan`: a plan to keep, or none.
  __aicore__ inline void Init(const DispatchArguments &arguments, GM_ADDR kept_plan, bool prefill, AscendC::TPipe *pipe) {
    arguments_ = arguments;
    kept_plan_ = kept_plan;
    pipe->InitBuffer(header_buffer_, Window::kBufferWords * sizeof(uint64_t));
    pipe->InitBuffer(failure_buffer_, Failure::kBufferWords * sizeof(int64_t));
    pipe->InitBuffer(flags_buffer_, Flags::kBufferBytes);
    pipe->InitBuffer(indices_buffer_, Routes::kTilePairs * sizeof(int32_t));
    pipe->InitBuffer(ids_buffer_, Routes::kTileTokens * kMaxTopK * sizeof(int32_t));
    window.Init(arguments.window, header_buffer_.Get<uint64_t>());
    failure.Init(&window, failure_buffer_.Get<int64_t>());
    flags.Init(&window, &failure, flags_buffer_.Get<uint64_t>());
    if (BytesOf(window.dtype) == 0) failure.Record(kReadInput, window.epoch, UnknownDtype{window.dtype});
    stopwatch_.Init(&window);
    live_.Init(&window, arguments.rank_mask, pipe);
    routes.Init(&window, &failure, &live_, arguments, pipe);
    page_.Init(&window, pipe);
    counting.Init(&window, &failure, &routes, &page_, pipe);
    exchange.Init(&window, &failure, &live_, &counting, &page_, Agreed() | (prefill ? kInPrefill : 0), pipe);
    next_rows.Init(&window, &routes, &page_, pipe);
    placement.Init(&window, &routes, arguments, pipe);
    indices = indices_buffer_.Get<int32_t>();
    brings_to = window.layout.destinations;
    brought_by = window.layout.sources;
  }

  // Counts and their exchange: after it, true, every row index follows from this rank's tables; false, no row may move.
  __aicore__ inline bool Plan() {
    const uint32_t block = static_cast<uint32_t>(AscendC::GetBlockIdx());
    const uint32_t blocks = static_cast<uint32_t>(AscendC::GetBlockNum());
    const bool keeps = kept_plan_ != nullptr;
    if (!failure.Failed()) live_.Check(exchange.Epoch(), failure);
    if (keeps && !failure.Failed()) CheckKeptPlan();
    if (!failure.Failed()) {
      counting.Count(Share(routes.TokenNum(), block, blocks), Share(routes.TokenNum(), block + 1, blocks),
                     exchange.Epoch());
    }
    const bool counted = failure.Barrier();
    stopwatch_.Lap(kCountCycles);
    if (counted && keeps) {
      CheckKept(PlanFault::kOtherRouting, kPlanRouting, static_cast<int32_t>(counting.Routing()));
      exchange.Announce();
      if (block == 0) exchange.ReportKept(arguments_.expert_token_nums, Cumulative());
    } else if (counted) {
      exchange.Publish();
      exchange.Collect(arguments_.expert_token_nums, Cumulative());
    }
    const bool planned = failure.Barrier();
    stopwatch_.Lap(kExchangeCycles);
    if (!planned) return false;
    fits_ = keeps || exchange.Fits();
    return fits_;
  }

  // Last, every block has written its rows; tell the destinations, and wait for the sources.
  __aicore__ inline void Complete() {
    const bool placed = failure.Barrier() && fits_;
    stopwatch_.Lap(kPlaceCycles);
    if (placed) {
      flags.Publish(window.layout.arrived, brings_to, exchange.Epoch());
      if (AscendC::GetBlockIdx() == 0) StorePlanHeader();  // here it takes no time that would not be waited
      flags.Await(window.layout.arrived, brought_by, exchange.Epoch(), kWaitArrived);
    }
    if (AscendC::GetBlockIdx() == 0) {
      if (!placed) exchange.ReportNothing(arguments_.expert_token_nums);
      if (!failure.Failed()) Finish(placed);
    }
    AscendC::PipeBarrier<PIPE_ALL>();
  }

  // expand_idx and physical ids of the tile's tokens.
  __aicore__ inline void StoreIndices(uint32_t first, uint32_t tokens) {
    const uint64_t at = static_cast<uint64_t>(first) * routes.Columns() * sizeof(int32_t);
    Store(arguments_.expand_idx + at, indices, tokens * routes.Columns());
    const AscendC::LocalTensor<int32_t> ids = ids_buffer_.Get<int32_t>();
    const uint32_t top_k = routes.TopK();
    for (uint32_t token = 0; token < tokens; ++token) {
      for (uint32_t k = 0; k < top_k; ++k) ids.SetValue(token * top_k + k, routes.PhysicalId(token, k));
    }
    Store(arguments_.physical_expert_ids + static_cast<uint64_t>(first) * top_k * sizeof(int32_t), ids, tokens * top_k);
  }

  // Back from where they were stored.
  __aicore__ inline void LoadIndices(uint32_t first, uint32_t tokens) {
    const uint64_t at = static_cast<uint64_t>(first) * routes.Columns() * sizeof(int32_t);
    Load(indices, arguments_.expand_idx + at, tokens * routes.Columns());
  }

  __aicore__ inline void StorePlan(uint64_t word, const AscendC::LocalTensor<int32_t> &words, uint32_t count) {
    Store(arguments_.plan + word * sizeof(int32_t), words, count);
  }

  Window window;
  Failure failure;
  Flags flags;
  Routes routes;
  Counting counting;
  Exchange exchange;
  NextRows next_rows;
  Placement placement;
  AscendC::LocalTensor<int32_t> indices;  // [kTileTokens, columns] expand_idx of the tile
  PartPlace brings_to;  // tables [R] of the rows that this rank brings to each, and each to this one
  PartPlace brought_by;

 protected:
  LiveRanks live_;
  SlotPage page_;

 private:
  __aicore__ inline bool Cumulative() const { return arguments_.expert_token_nums_type == 0; }

  // What ranks must have been given alike, as it stands in the agreement word. A row that another rank quantises for
  // this one has that one's smooth factors.
  __aicore__ inline uint32_t Agreed() const {
    uint32_t agreed = arguments_.quant_mode << kQuantModeShift;
    if (window.shape.pooled_tokens > 0) agreed |= arguments_.smooth_kind << kSmoothKindShift;
    return kept_plan_ != nullptr ? agreed | kKeepsPlan : agreed;
  }

  __aicore__ inline void Finish(bool placed) {
    stopwatch_.Lap(kArriveCycles);
    if (placed && window.keeps_stats) {
      const uint64_t rows = stopwatch_.RowsAway(indices, Routes::kTilePairs);
      stopwatch_.Add(kSentRows, rows);
      stopwatch_.Add(kSentBytes, rows * placement.RowBytes());
    }
    live_.Keep();
    if (placed && !live_.All()) window.AddTo(FieldOffset(kLostPairs), counting.LostPairs());
    exchange.Finish(placed);
  }

  // A dispatch that keeps a plan exchanges no counts: this rank's tables must still be those of the plan, and only the
  // combine before says that the peers are done with the rows that lie in their windows.
  __aicore__ inline void CheckKeptPlan() {
    Load(indices, kept_plan_, kPlanFields);
    for (uint32_t i = 0; i < kPlanFields; ++i) kept_[i] = indices.GetValue(i);
    const uint64_t exchange_number = static_cast<uint32_t>(kept_[kPlanExchangeLow]) |
                                     static_cast<uint64_t>(static_cast<uint32_t>(kept_[kPlanExchangeHigh])) << 32;
    if (exchange_number != window.exchange) RecordKept(PlanFault::kOtherExchange, exchange_number, window.exchange);
    const bool combined = window.placed_epoch == window.epoch && window.combined_epoch == window.epoch;
    if (!combined) RecordKept(PlanFault::kNotCombined, window.combined_epoch, window.epoch);
    CheckKept(PlanFault::kOtherTokenNum, kPlanTokens, static_cast<int32_t>(routes.TokenNum()));
    CheckKept(PlanFault::kOtherColumns, kPlanColumns, static_cast<int32_t>(routes.Columns()));
    CheckKept(PlanFault::kOtherQuantMode, kPlanQuantMode, static_cast<int32_t>(arguments_.quant_mode));
    if (live_.Changed()) RecordKept(PlanFault::kOtherRanks, 0, 0);
  }
  __aicore__ inline void CheckKept(PlanFault fault, uint32_t field, int32_t value) {
    if (kept_[field] != value) RecordKept(fault, static_cast<uint64_t>(kept_[field]), static_cast<uint64_t>(value));
  }
  __aicore__ inline void RecordKept(PlanFault fault, uint64_t kept, uint64_t value) {
    const KeptPlanBroken error = {fault, static_cast<int64_t>(kept), static_cast<int64_t>(value)};
    failure.Record(kReadInput, exchange.Epoch(), error);
  }

  __aicore__ inline void StorePlanHeader() {
    indices.SetValue(kPlanEpochLow, static_cast<int32_t>(exchange.Epoch() & 0xffffffffULL));
    indices.SetValue(kPlanEpochHigh, static_cast<int32_t>(exchange.Epoch() >> 32));
    indices.SetValue(kPlanTokens, static_cast<int32_t>(routes.TokenNum()));
    indices.SetValue(kPlanTopK, static_cast<int32_t>(routes.TopK()));
    indices.SetValue(kPlanBlocks, static_cast<int32_t>(AscendC::GetBlockNum()));
    indices.SetValue(kPlanExchangeLow, static_cast<int32_t>(exchange.Number() & 0xffffffffULL));
    indices.SetValue(kPlanExchangeHigh, static_cast<int32_t>(exchange.Number() >> 32));
    indices.SetValue(kPlanColumns, static_cast<int32_t>(routes.Columns()));
    indices.SetValue(kPlanQuantMode, static_cast<int32_t>(arguments_.quant_mode));
    indices.SetValue(kPlanRouting, static_cast<int32_t>(counting.Routing()));
    StorePlan(0, indices, kPlanFields);
  }

  DispatchArguments arguments_;
  GM_ADDR kept_plan_;
  bool fits_ = false;
  int32_t kept_[kPlanFields];  // the kept plan's
  Stopwatch stopwatch_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> header_buffer_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> failure_buffer_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> flags_buffer_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> ids_buffer_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> indices_buffer_;
};

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_DISPATCH_H
