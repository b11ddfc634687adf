// One run of the simulation: a configuration, a few steps on one window per rank, all results compared.
//
//   options.h       the run's sizes, rules and features, drawn from its seed (a new feature: a field and its draw)
//   workload.h      its steps: tokens, routes, experts' outputs, and the results that reference.h expects
//   faults/         what goes wrong on one rank, a file each (to add one: see faults/fault.h)
//   windows.h       the windows and their parts, registered with the simulator; past.h: their first content
//   kernel_calls.h  calls of the kernels, with the arguments of arguments.h
//   scenario.cc     the ranks' hosts: they launch the kernels and run the checkers
//   checkers/       what must hold after a dispatch or a combine, a file each
#ifndef MOE_COMM_TESTS_SIMULATION_SCENARIO_H
#define MOE_COMM_TESTS_SIMULATION_SCENARIO_H

#include <cstdint>
#include <string>
#include <vector>

#include "contract/window_schema.h"
#include "host_twin/check/simulator.h"

namespace simulation {

enum Kernel : uint32_t { kDecodeDispatch, kDecodeCombine, kPrefillDispatch, kPrefillCombine, kKernelCount };

struct Result {
  std::string configuration;
  std::string more;                     // options that the line leaves out, or empty
  std::string report;                   // what went wrong, or empty
  uint64_t rank_steps = 0;              // dispatches and combines, summed over the ranks
  uint64_t kernels[kKernelCount] = {};  // how often each ran
  uint64_t scheduler_steps = 0;
  std::string fault;            // the fault that was planted, or empty
  std::string unplanted_fault;  // the fault that could not be planted, or empty
};

// How a run is watched.
struct Watch {
  std::string trace;     // the file for its trace (host_twin/check/trace.h), or empty
  bool goes_on = false;  // continues after a race or a wrong result
};

// The possible values of `fault` and `unplanted_fault`.
std::vector<std::string> KnownFaults();

// Runs a configuration drawn from the seed.
Result RunScenario(uint64_t seed, const Watch &watch = Watch());

// Runs a given size without faults: decode and then prefill, each with dispatch and combine. Rows are random.
struct Size {
  uint32_t ranks;
  uint32_t cores;
  uint32_t experts;
  uint32_t tokens;  // of each rank
  uint32_t top_k;
  uint64_t row_bytes;
};

// Observes the kernels of such a run.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void OnWindows(const moe_comm::WindowShape &shape, const std::vector<uint8_t *> &windows) = 0;
  virtual void OnTransfer(const AscendC::backend::Transfer &transfer) = 0;
  virtual void OnEnd(const AscendC::backend::Simulator &simulator, uint32_t rank, Kernel kernel) = 0;
};
Result RunScenario(const Size &size, Observer &observer);

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_SCENARIO_H
