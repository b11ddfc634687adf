// What a window holds from dispatches before a run's first one: a run may begin anywhere in a window's life.
#ifndef MOE_COMM_TESTS_SIMULATION_PAST_H
#define MOE_COMM_TESTS_SIMULATION_PAST_H

#include <cstring>
#include <random>

#include "contract/window_schema.h"

namespace simulation {

// The last dispatch and the last counts exchange, of all ranks.
struct Past {
  uint64_t epoch = 0;
  uint64_t exchange = 0;
};

// New windows, used ones, and those whose epochs pass 2^32 or 2^33 during the run.
inline Past DrawPast(std::mt19937_64 &random) {
  const auto below = [&](uint64_t limit) { return random() % limit; };
  Past past;
  switch (below(6)) {
    case 0: return past;
    case 1: past.epoch = 2 + below(1000); break;
    case 2: past.epoch = 2 + below(uint64_t{1} << 40); break;
    case 3: past.epoch = (uint64_t{1} << 33) - below(4); break;
    default: past.epoch = (uint64_t{1} << 32) - below(4);
  }
  // some dispatches kept a plan; at least two exchanges have left their words
  past.exchange = 2 + below(below(2) == 0 ? past.epoch - 1 : std::min<uint64_t>(past.epoch - 1, 4));
  return past;
}

// Writes the past into a zeroed window. Some flags of pairs that have been silent since agree with a coming epoch in
// their low half.
inline void WritePast(const Past &past, const moe_comm::WindowShape &shape, uint8_t *window, std::mt19937_64 &random) {
  if (past.epoch == 0) return;
  const moe_comm::WindowLayout layout(shape);
  const auto below = [&](uint64_t limit) { return random() % limit; };
  uint64_t *header = reinterpret_cast<uint64_t *>(window);
  header[moe_comm::kEpoch] = header[moe_comm::kPlacedEpoch] = header[moe_comm::kCombinedEpoch] = past.epoch;
  header[moe_comm::kExchange] = past.exchange;
  for (uint64_t source = 0; source < shape.world_size; ++source) {
    for (uint64_t ago = 0; ago < 2; ++ago) {
      uint8_t *row = window + moe_comm::CountsRow(layout, shape, past.exchange - ago, source);
      const uint64_t tag = (past.epoch - ago) << 32;
      for (uint64_t word = 0; word <= moe_comm::SlotNum(shape); ++word) {
        const uint64_t value = tag | below(8);
        std::memcpy(row + word * sizeof(value), &value, sizeof(value));
      }
    }
    for (const moe_comm::PartPlace &lines : {layout.arrived, layout.ready, layout.handed}) {
      uint64_t flag = past.epoch - below(std::min<uint64_t>(past.epoch + 1, 5));
      const uint64_t coming = past.epoch + 1 + below(3);
      const uint64_t wraps = 1 + below(2);
      if (below(2) == 0 && coming >> 32 >= wraps) flag = coming - (wraps << 32);
      std::memcpy(window + lines(source), &flag, sizeof(flag));
    }
  }
}

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_PAST_H
