// One run of the simulation: a random configuration, a few steps on one window per rank, all results compared.
#ifndef MOE_COMM_TESTS_SIMULATION_SCENARIO_H
#define MOE_COMM_TESTS_SIMULATION_SCENARIO_H

#include <cstdint>
#include <string>

namespace simulation {

struct Result {
  std::string configuration;
  std::string report;  // of what went wrong, or empty
  uint64_t rank_steps = 0;  // dispatches and combines, summed over the ranks
  uint64_t kernels[4] = {0, 0, 0, 0};  // runs of decode dispatch, decode combine, prefill dispatch, prefill combine
  uint64_t scheduler_steps = 0;
};

Result RunScenario(uint64_t seed);

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_SCENARIO_H
