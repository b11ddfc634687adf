// Random numbers from a seed.
#ifndef MOE_COMM_TESTS_SIMULATION_DRAW_H
#define MOE_COMM_TESTS_SIMULATION_DRAW_H

#include <cstdint>
#include <random>

namespace simulation {

struct Draw {
  explicit Draw(uint64_t seed) : engine(seed) {}
  uint64_t Below(uint64_t limit) { return engine() % limit; }
  bool OneIn(uint64_t times) { return Below(times) == 0; }

  std::mt19937_64 engine;
};

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_DRAW_H
