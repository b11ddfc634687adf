// The Python module `ms_moe_comm._lib`.
#include <vector>

#include "host/canary.h"
#include "host/launch.h"
#include "host/resume.h"
#include "host/window_host.h"
#include "mindspore/memory_tensor.h"
#include "mindspore/pynative.h"
#include "operators/moe_grouped_matmul/op_host/grouped_matmul_cpu.h"

namespace moe_comm {
namespace {

pybind11::dict LayoutOf(uint64_t world_size, uint64_t expert_num, uint64_t block_dim, uint64_t capacity,
                        uint64_t row_bytes, uint64_t shared_ranks, uint64_t pooled_tokens, uint64_t pooled_pairs) {
  const WindowShape s = {world_size, expert_num, block_dim, capacity, row_bytes, shared_ranks, pooled_tokens,
                         pooled_pairs};
  pybind11::dict d;
  d["header"] = 0;
  d["records"] = RecordsOffset();
  d["peers"] = PeersOffset(s);
  d["live"] = LiveOffset(s);
  d["counts"] = CountsOffset(s);
  d["counts_row_bytes"] = CountsRowBytes(s);
  d["arrived"] = ArrivedOffset(s);
  d["ready"] = ReadyOffset(s);
  d["handed"] = HandedOffset(s);
  d["aborted"] = AbortedOffset(s);
  d["meeting"] = MeetingOffset(s, 0);
  d["scratch"] = HistogramOffset(s, 0);
  d["dropped_from"] = DroppedFromOffset(s);
  d["dropped_to"] = DroppedToOffset(s);
  d["waited"] = WaitedOffset(s, 0, kWaitCounts);
  d["waited_row_bytes"] = WaitedOffset(s, 0, kWaitCounts + 1) - WaitedOffset(s, 0, kWaitCounts);
  d["control_bytes"] = ControlBytes(s);
  d["rows"] = RowsOffset(s);
  d["scales"] = ScalesOffset(s);
  d["outputs"] = OutputsOffset(s);
  if (pooled_tokens > 0) {
    d["moves"] = MovesOffset(s);
    d["inputs"] = InputOffset(s, 0);
    d["entries"] = EntryOffset(s, 0);
  }
  d["window_bytes"] = WindowBytes(s);
  return d;
}

pybind11::dict Fields() {
  pybind11::dict d;
  d["magic"] = uint32_t(kMagic);
  d["world_size"] = uint32_t(kWorldSize);
  d["rank_id"] = uint32_t(kRankId);
  d["expert_num"] = uint32_t(kExpertNum);
  d["capacity"] = uint32_t(kCapacity);
  d["row_bytes"] = uint32_t(kRowBytes);
  d["block_dim"] = uint32_t(kBlockDim);
  d["max_tokens"] = uint32_t(kMaxTokens);
  d["top_k"] = uint32_t(kTopK);
  d["dtype"] = uint32_t(kDtype);
  d["timeout_us"] = uint32_t(kTimeoutUs);
  d["epoch"] = uint32_t(kEpoch);
  d["exchange"] = uint32_t(kExchange);
  d["placed_epoch"] = uint32_t(kPlacedEpoch);
  d["received_rows"] = uint32_t(kReceivedRows);
  d["copied_bytes"] = uint32_t(kCopiedBytes);
  d["left_ranks"] = uint32_t(kLeftRanks);
  d["lost_pairs"] = uint32_t(kLostPairs);
  d["count_cycles"] = uint32_t(kCountCycles);
  d["exchange_cycles"] = uint32_t(kExchangeCycles);
  d["place_cycles"] = uint32_t(kPlaceCycles);
  d["arrive_cycles"] = uint32_t(kArriveCycles);
  d["outputs_cycles"] = uint32_t(kOutputsCycles);
  d["ready_cycles"] = uint32_t(kReadyCycles);
  d["reduce_cycles"] = uint32_t(kReduceCycles);
  d["sent_rows"] = uint32_t(kSentRows);
  d["sent_bytes"] = uint32_t(kSentBytes);
  d["read_bytes"] = uint32_t(kReadBytes);
  d["dispatch_calls"] = uint32_t(kDispatchCalls);
  d["dispatch_nanoseconds"] = uint32_t(kDispatchNanoseconds);
  d["combine_calls"] = uint32_t(kCombineCalls);
  d["combine_nanoseconds"] = uint32_t(kCombineNanoseconds);
  return d;
}

pybind11::dict Limits() {
  pybind11::dict d;
  d["max_blocks"] = kMaxBlocks;
  d["max_top_k"] = kMaxTopK;
  d["max_shared_experts"] = kMaxSharedExperts;
  d["max_experts"] = kMaxExperts;
  d["max_ranks"] = kMaxRanks;
  d["row_align"] = kRowAlign;
  d["window_magic"] = kWindowMagic;
  return d;
}

void InitWindowAt(uint64_t base, uint64_t world_size, uint64_t rank_id, uint64_t expert_num, uint64_t capacity,
                  uint64_t row_bytes, uint64_t block_dim, uint64_t max_tokens, uint64_t top_k, uint64_t dtype_code,
                  uint64_t timeout_us, uint64_t shared_ranks, uint64_t shared_experts, bool drops, bool keeps_stats,
                  uint64_t pooled_tokens, uint64_t pooled_pairs,
                  const std::vector<uint64_t> &peer_bases, bool on_npu) {
  WindowParameters p;
  p.shape = {world_size, expert_num, block_dim, capacity, row_bytes, shared_ranks, pooled_tokens, pooled_pairs};
  p.shared_experts = shared_experts;
  p.drops = drops;
  p.keeps_stats = keeps_stats;
  p.rank = rank_id;
  p.max_tokens = max_tokens;
  p.top_k = top_k;
  p.dtype = dtype_code;
  p.timeout_us = timeout_us;
  p.on_npu = on_npu;
  InitWindow(reinterpret_cast<uint8_t *>(base), p, peer_bases);
}

}  // namespace
}  // namespace moe_comm

PYBIND11_MODULE(_lib, m) {
  using namespace moe_comm;  // NOLINT: the module is this namespace's face
  DefinePyNative(&m);
  m.def("drain", Drain);
  m.def("window_layout", LayoutOf);
  m.def("window_fields", Fields);
  m.def("limits", Limits);
  m.def("init_window", InitWindowAt);
  m.def("resume_window", [](uint64_t base, const std::vector<bool> &live) {
    pybind11::gil_scoped_release release;
    ResumeWindow(reinterpret_cast<uint8_t *>(base), live);
  });
  m.def("close_window", [](uint64_t base) { CloseWindow(reinterpret_cast<const uint8_t *>(base)); });
  m.def("start_recording", Recording::Start);
  m.def("stop_recording", Recording::Stop);
  m.def("replay", [] {
    pybind11::gil_scoped_release release;
    Recording::Replay();
  });
  m.def("memory_tensor", MemoryTensor);
  m.def("try_kernels", TryKernels);
  m.def("describe_error", [](uint64_t base) { return TakeError(reinterpret_cast<uint8_t *>(base), "window"); });
  m.def("set_sgemm", [](const pybind11::capsule &sgemm) {
    SetSgemm(reinterpret_cast<Sgemm>(PyCapsule_GetPointer(sgemm.ptr(), sgemm.name())));
  });
}
