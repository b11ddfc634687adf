#include "windows.h"

#include <cstring>
#include <string>

namespace simulation {

using namespace moe_comm;

namespace {

constexpr uint64_t kEndlessUs = uint64_t{1} << 33;  // the simulator's clock leaps there when nothing can go on
constexpr uint64_t kMaxTokens = 200;                // of a rank, if prefill is balanced

void FillHeader(const Options &options, const WindowShape &shape, uint32_t rank, uint8_t *window) {
  uint64_t *words = reinterpret_cast<uint64_t *>(window);
  words[kMagic] = kWindowMagic;
  words[kWorldSize] = shape.world_size;
  words[kRankId] = rank;
  words[kExpertNum] = shape.expert_num;
  words[kCapacity] = shape.capacity;
  words[kRowBytes] = shape.row_bytes;
  words[kBlockDim] = shape.block_dim;
  words[kTopK] = options.top_k;
  words[kSharedRankNum] = options.rules.shared_ranks;
  words[kSharedExpertNum] = options.rules.shared_experts;
  words[kDtype] = options.dtype;
  words[kOverflowDrop] = options.drops;
  words[kKeepsStats] = options.keeps_stats;
  words[kPooledTokens] = shape.pooled_tokens;
  words[kPooledPairs] = shape.pooled_pairs;
  words[kTimeoutUs] = kEndlessUs;
}

std::string Index(uint64_t i) { return "[" + std::to_string(i) + "]"; }

// Registers the parts of one window.
class Parts {
 public:
  Parts(const WindowShape &shape, uint32_t rank, uint8_t *window, AscendC::backend::Simulator &simulator)
      : shape_(shape), rank_(rank), window_(window), simulator_(simulator) {}

  void Register(const Options &options) {
    Content("header", 0, kFieldCount * sizeof(uint64_t));
    Content("peers", PeersOffset(shape_), shape_.world_size * sizeof(uint64_t));
    RegisterFlags();
    if (options.balanced) RegisterBalance();
    Table("live", LiveOffset(shape_), shape_.world_size);
    Flags("aborted", AbortedOffset(shape_), shape_.world_size * kLineBytes);
    Flags("meeting", MeetingOffset(shape_, 0), shape_.world_size * kLineBytes);
    Flags("records", RecordsOffset(), shape_.block_dim * kLineBytes);
    for (uint64_t block = 0; block < shape_.block_dim; ++block) RegisterBlock(block, options.keeps_stats);
    RegisterTables();
    Table("rows", RowsOffset(shape_), shape_.capacity * shape_.row_bytes);
    Table("outputs", OutputsOffset(shape_), shape_.capacity * shape_.row_bytes);
  }

 private:
  // Zeros or more are there from the start.
  void Content(const std::string &name, uint64_t offset, uint64_t bytes) { Part(name, offset, bytes, true, false); }
  // Nothing is there before a kernel has written it.
  void Table(const std::string &name, uint64_t offset, uint64_t bytes) { Part(name, offset, bytes, false, false); }
  // Words by which cores and ranks tell each other something.
  void Flags(const std::string &name, uint64_t offset, uint64_t bytes) { Part(name, offset, bytes, true, true); }
  void Part(const std::string &name, uint64_t offset, uint64_t bytes, bool content, bool flags) {
    simulator_.Register(rank_, "window." + name, window_ + offset, bytes, content, flags);
  }

  void RegisterFlags() {
    for (uint64_t parity = 0; parity < 2; ++parity) {
      for (uint64_t source = 0; source < shape_.world_size; ++source) {
        Flags("counts" + Index(parity) + Index(source), CountsRowOffset(shape_, parity, source),
              (SlotNum(shape_) + 1) * sizeof(uint64_t));
      }
    }
    const uint64_t lines = shape_.world_size * kLineBytes;
    Flags("arrived", ArrivedOffset(shape_), lines);
    Flags("ready", ReadyOffset(shape_), lines);
    Flags("handed", HandedOffset(shape_), lines);
  }

  void RegisterBalance() {
    const uint64_t ranks = shape_.world_size * sizeof(int32_t);
    const uint64_t slots = SlotNum(shape_) * sizeof(int32_t);
    for (uint64_t d = 0; d < shape_.world_size; ++d) Table("shares" + Index(d), SharesOffset(shape_, d), ranks);
    Table("loads", LoadsOffset(shape_), ranks);
    Table("bringers", BringersOffset(shape_), ranks);
    Table("moves", MovesOffset(shape_), ranks);
    Table("helpers", HelpersOffset(shape_), ranks);
    Table("helped", HelpedOffset(shape_), ranks);
    Table("own_rows", OwnRowsOffset(shape_), slots);
    Table("shifts", ShiftsOffset(shape_), slots);
    Table("inputs", InputOffset(shape_, 0), shape_.pooled_tokens * shape_.row_bytes);
    Table("entries", EntryOffset(shape_, 0), shape_.pooled_pairs * kEntryWords * sizeof(int32_t));
  }

  void RegisterBlock(uint64_t block, bool keeps_stats) {
    const uint64_t slots = SlotNum(shape_) * sizeof(int32_t);
    Table("histogram" + Index(block), HistogramOffset(shape_, block), slots);
    Table("next_rows" + Index(block), NextRowsOffset(shape_, block), slots);
    Table("note" + Index(block), NoteOffset(shape_, block), kLineBytes);
    for (uint64_t phase = kWaitCounts; keeps_stats && phase < kWaitCounts + kWaitPhases; ++phase) {
      Content("waited" + Index(block) + Index(phase), WaitedOffset(shape_, block, phase),
              shape_.world_size * sizeof(uint64_t));
    }
  }

  void RegisterTables() {
    const uint64_t ranks = shape_.world_size * sizeof(int32_t);
    const uint64_t slots = SlotNum(shape_) * sizeof(int32_t);
    Table("first_rows", FirstRowsOffset(shape_), slots);
    Table("last_rows", LastRowsOffset(shape_), slots);
    Table("received", ReceivedOffset(shape_), SlotsOf(shape_, rank_) * sizeof(int32_t));
    Content("dropped_from", DroppedFromOffset(shape_), shape_.world_size * sizeof(uint64_t));
    Content("dropped_to", DroppedToOffset(shape_), shape_.world_size * sizeof(uint64_t));
    Table("last_dropped_from", LastDroppedFromOffset(shape_), ranks);
    Table("last_dropped_to", LastDroppedToOffset(shape_), ranks);
    Table("scales", ScalesOffset(shape_), shape_.capacity * sizeof(float));
    Table("sources", SourcesOffset(shape_), ranks);
    Table("destinations", DestinationsOffset(shape_), ranks);
  }

  const WindowShape &shape_;
  uint32_t rank_;
  uint8_t *window_;
  AscendC::backend::Simulator &simulator_;
};

}  // namespace

WindowShape ShapeOf(const Options &options, uint64_t capacity) {
  const uint64_t tokens = options.balanced ? kMaxTokens : 0;
  return {options.world_size, options.expert_num, options.cores, capacity, options.row_bytes,
          options.rules.shared_ranks, tokens, tokens * options.rules.Columns()};
}

std::vector<uint8_t *> MakeWindows(const Options &options, const WindowShape &shape, Draw &draw,
                                   AscendC::backend::Simulator &simulator, Memory &memory) {
  std::vector<uint8_t *> windows;
  std::vector<uint64_t> bases;
  for (uint32_t rank = 0; rank < options.world_size; ++rank) {
    windows.push_back(memory.Raw(WindowBytes(shape)));
    std::memset(windows.back(), 0, ControlBytes(shape));
    bases.push_back(reinterpret_cast<uint64_t>(windows.back()));
  }
  for (uint32_t rank = 0; rank < options.world_size; ++rank) {
    FillHeader(options, shape, rank, windows[rank]);
    std::memcpy(windows[rank] + PeersOffset(shape), bases.data(), bases.size() * sizeof(uint64_t));
    WritePast(options.past, shape, windows[rank], draw.engine);
    Parts(shape, rank, windows[rank], simulator).Register(options);
  }
  return windows;
}

}  // namespace simulation
