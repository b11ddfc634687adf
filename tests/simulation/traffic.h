// What the kernels of a simulation move in the windows' control parts, and how long their chains of waits are.
#ifndef MOE_COMM_TESTS_SIMULATION_TRAFFIC_H
#define MOE_COMM_TESTS_SIMULATION_TRAFFIC_H

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "scenario.h"

namespace simulation {

enum Figure : uint32_t {
  kCounts,        // messages to peers: counts rows,
  kArrived,       //   lines of `arrived`
  kReady,         //   and lines of `ready`
  kBytesOut,      // bytes of these messages
  kBytesIn,       // bytes read from what peers can write in a rank's own window, each word once per core
  kTableBytes,    // bytes read from the rest of the own window's control part, each word once per core
  kCoreMessages,  // messages of the busiest core
  kCoreMoves,     // its moves: all writes, and the reads that bring something new to it
  kCoreScalars,   // its scalar accesses to the unified buffer
  kHops,          // the longest chain of hops (Simulator::Hops) that a rank waits for
  kFigures
};
using Figures = std::array<uint64_t, kFigures>;

// Counts for each kernel, and keeps each figure's largest value over the ranks.
class Traffic : public Observer {
 public:
  explicit Traffic(const Size &size) : size_(size), cores_(size.ranks * size.cores) {}

  void OnWindows(const moe_comm::WindowShape &shape, const std::vector<uint8_t *> &windows) override {
    layout_ = moe_comm::WindowLayout(shape);
    windows_ = windows;
    for (Core &core : cores_) core.seen.resize(moe_comm::ControlBytes(layout_) / kWordBytes);
  }

  void OnTransfer(const AscendC::backend::Transfer &move) override {
    Core &core = cores_[move.rank * size_.cores + move.block];
    const uint64_t offset = static_cast<uint64_t>(move.global - windows_[move.owner]);  // huge if it lies before
    const bool control = offset < moe_comm::ControlBytes(layout_);
    bool brings = !control || !move.in;
    for (uint32_t piece = 0; piece < move.pieces && control; ++piece) {
      const uint64_t at = offset + piece * move.pitch;
      if (move.in) {
        brings = Read(core, at, move.bytes) || brings;
      } else if (move.owner != move.rank) {
        Write(core, at, move.bytes);
      }
    }
    core.figures[kCoreMoves] += brings;
  }

  void OnEnd(const AscendC::backend::Simulator &simulator, uint32_t rank, Kernel kernel) override {
    Figures all{};
    for (uint32_t block = 0; block < size_.cores; ++block) {
      Core &core = cores_[rank * size_.cores + block];
      core.figures[kCoreMessages] = core.figures[kCounts] + core.figures[kArrived] + core.figures[kReady];
      core.figures[kCoreScalars] = simulator.CoreOf(rank, block).scalar_accesses;
      for (uint32_t figure = 0; figure < kFigures; ++figure) {
        const uint64_t of_core = core.figures[figure];
        all[figure] = figure < kCoreMessages ? all[figure] + of_core : std::max(all[figure], of_core);
      }
      core.figures.fill(0);
      core.seen.assign(core.seen.size(), false);
    }
    all[kHops] = simulator.Hops(rank);
    for (uint32_t figure = 0; figure < kFigures; ++figure) {
      most_[kernel][figure] = std::max(most_[kernel][figure], all[figure]);
    }
  }

  // A kernel's hops are those since the kernel before it.
  Figures Of(Kernel kernel) const {
    Figures figures = most_[kernel];
    if (kernel > 0) figures[kHops] -= most_[kernel - 1][kHops];
    return figures;
  }

  // Writes to a peer's control part of none of the three kinds: a rank has told an error, although there was none.
  uint64_t Strange() const { return strange_; }

 private:
  static constexpr uint64_t kWordBytes = 4;
  struct Core {
    Figures figures{};
    std::vector<bool> seen;  // words of the own window's control part
  };

  void Write(Core &core, uint64_t at, uint32_t bytes) {
    if (at < layout_.counts.offset || at >= layout_.aborted.offset) {
      ++strange_;
      return;
    }
    const bool counts = at < layout_.arrived.offset;
    ++core.figures[counts ? kCounts : at < layout_.ready.offset ? kArrived : kReady];
    core.figures[kBytesOut] += bytes;
  }

  // True if the core has not seen some of it.
  bool Read(Core &core, uint64_t at, uint32_t bytes) {
    const bool from_peers = at >= layout_.counts.offset && at < layout_.histogram.offset;
    bool brings = false;
    for (uint64_t word = at / kWordBytes; word < (at + bytes + kWordBytes - 1) / kWordBytes; ++word) {
      if (core.seen[word]) continue;
      core.seen[word] = brings = true;
      core.figures[from_peers ? kBytesIn : kTableBytes] += kWordBytes;
    }
    return brings;
  }

  Size size_;
  moe_comm::WindowLayout layout_{};
  std::vector<uint8_t *> windows_;
  std::vector<Core> cores_;
  std::array<Figures, kKernelCount> most_{};
  uint64_t strange_ = 0;
};

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_TRAFFIC_H
