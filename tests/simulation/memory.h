// Memory that the simulator knows, kept for the whole run.
#ifndef MOE_COMM_TESTS_SIMULATION_MEMORY_H
#define MOE_COMM_TESTS_SIMULATION_MEMORY_H

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "contract/window_schema.h"
#include "host_twin/check/simulator.h"

namespace simulation {

class Memory {
 public:
  explicit Memory(AscendC::backend::Simulator &simulator) : simulator_(simulator) {}
  uint8_t *Raw(uint64_t bytes) {
    void *block = std::aligned_alloc(moe_comm::kRegionAlign, moe_comm::RegionSize(bytes + moe_comm::kRegionAlign));
    std::memset(block, 0x5a, bytes);
    blocks_.emplace_back(static_cast<uint8_t *>(block), &std::free);
    return blocks_.back().get();
  }
  // A new tensor with the content at `content`, or without content if that is nullptr.
  uint8_t *Tensor(uint32_t rank, const char *name, uint64_t bytes, const void *content) {
    uint8_t *base = Raw(bytes);
    if (bytes == 0) return base;
    simulator_.Register(rank, name, base, bytes, false);
    if (content != nullptr) {
      std::memcpy(base, content, bytes);
      simulator_.Touch(rank, base, bytes, true);
    }
    return base;
  }

 private:
  AscendC::backend::Simulator &simulator_;
  std::vector<std::unique_ptr<uint8_t, decltype(&std::free)>> blocks_;
};

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_MEMORY_H
