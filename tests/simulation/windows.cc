#include "windows.h"

#include <cstring>
#include <map>
#include <string>

namespace simulation {

using namespace moe_comm;

namespace {

constexpr uint64_t kEndlessUs = uint64_t{1} << 33;  // the simulator's clock leaps so far when no actor can run
constexpr uint64_t kMostTokens = 200;               // most tokens of a rank

void FillHeader(const Options &options, const WindowShape &shape, uint32_t rank, uint8_t *window) {
  const std::map<std::string, uint64_t> words = {{"magic", kWindowMagic},
                                                 {"world_size", shape.world_size},
                                                 {"rank_id", rank},
                                                 {"expert_num", shape.expert_num},
                                                 {"capacity", shape.capacity},
                                                 {"row_bytes", shape.row_bytes},
                                                 {"block_dim", shape.block_dim},
                                                 {"max_tokens", kMostTokens},
                                                 {"top_k", options.top_k},
                                                 {"dtype", options.dtype},
                                                 {"timeout_us", kEndlessUs},
                                                 {"shared_rank_num", options.rules.shared_ranks},
                                                 {"shared_expert_num", options.rules.shared_experts},
                                                 {"overflow_drop", options.drops},
                                                 {"pooled_tokens", shape.pooled_tokens},
                                                 {"pooled_pairs", shape.pooled_pairs},
                                                 {"keeps_stats", options.keeps_stats}};
  uint64_t *header = reinterpret_cast<uint64_t *>(window);
#define MOE_COMM_FIELD(constant, name, given) \
  if (Given::given == Given::kAtCreation) header[constant] = words.at(#name);
  MOE_COMM_WINDOW_FIELDS(MOE_COMM_FIELD)
#undef MOE_COMM_FIELD
}

// Registers the parts of one window, piece by piece if there are gaps between the pieces.
void RegisterParts(const Options &options, const WindowShape &s, const WindowLayout &layout, uint32_t rank,
                   uint8_t *window, AscendC::backend::Simulator &simulator) {
  const auto used = [&options](PartOf use) {
    return use == PartOf::kAll || (use == PartOf::kBalanced && options.balanced) ||
           (use == PartOf::kKeepsStats && options.keeps_stats) || (use == PartOf::kDrops && options.drops);
  };
  const auto add = [&](const std::string &name, const PartPlace &place, uint64_t pieces, uint64_t bytes,
                       PartKind kind) {
    const bool content = kind == PartKind::kWords || kind == PartKind::kFlags;
    const bool gaps = bytes != place.pitch;
    for (uint64_t i = 0; i < (gaps ? pieces : 1); ++i) {
      simulator.Register(rank, "window." + name + (gaps ? "[" + std::to_string(i) + "]" : ""), window + place(i),
                         gaps ? bytes : pieces * bytes, content, kind == PartKind::kFlags);
    }
  };
#define MOE_COMM_PART(name, pieces, piece_bytes, align, kind, use) \
  if (used(PartOf::use)) add(#name, layout.name, pieces, piece_bytes, PartKind::kind);
  MOE_COMM_WINDOW_PARTS(MOE_COMM_PART)
#undef MOE_COMM_PART
}

}  // namespace

WindowShape ShapeOf(const Options &options, uint64_t capacity) {
  const uint64_t tokens = options.balanced ? kMostTokens : 0;
  return {options.world_size, options.expert_num,         options.cores, capacity,
          options.row_bytes,  options.rules.shared_ranks, tokens,        tokens * options.rules.Columns()};
}

std::vector<uint8_t *> MakeWindows(const Options &options, const WindowShape &shape, Draw &draw,
                                   AscendC::backend::Simulator &simulator, Memory &memory) {
  const WindowLayout layout(shape);
  std::vector<uint8_t *> windows;
  std::vector<uint64_t> bases;
  for (uint32_t rank = 0; rank < options.world_size; ++rank) {
    windows.push_back(memory.Raw(layout.bytes));
    std::memset(windows.back(), 0, ControlBytes(layout));
    bases.push_back(reinterpret_cast<uint64_t>(windows.back()));
  }
  for (uint32_t rank = 0; rank < options.world_size; ++rank) {
    FillHeader(options, shape, rank, windows[rank]);
    std::memcpy(windows[rank] + layout.peers.offset, bases.data(), bases.size() * sizeof(uint64_t));
    WritePast(options.past, shape, windows[rank], draw.engine);
    RegisterParts(options, shape, layout, rank, windows[rank], simulator);
  }
  return windows;
}

}  // namespace simulation
