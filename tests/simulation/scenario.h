// One run of the simulation: a configuration, a few steps on one window per rank, all results compared.
//
//   options.h       what the run is: sizes, rules, features, drawn from its seed (a new feature: a field and its draw)
//   workload.h      its steps: tokens, routes, experts' outputs and, by reference.h, what must come of them
//   faults/         what goes wrong on one rank, a file each (to add one: see faults/fault.h)
//   windows.h       the windows and their parts, as the simulator knows them; past.h: what is in them before
//   kernel_calls.h  the kernels, called with arguments.h
//   scenario.cc     the ranks' hosts: they launch the kernels and let the checkers look
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
  std::string more;    // options that it leaves out, or none
  std::string report;  // of what went wrong, or empty
  uint64_t rank_steps = 0;  // dispatches and combines, summed over the ranks
  uint64_t kernels[kKernelCount] = {};  // how often each ran
  uint64_t scheduler_steps = 0;
  std::string fault;            // that was planted, or none
  std::string unplanted_fault;  // that could not be planted, or none
};

// How a run is watched.
struct Watch {
  std::string trace;     // the file for a trace of it (host_twin/check/trace.h), or none
  bool goes_on = false;  // to its end, also after a race or a wrong result
};

// What `fault` and `unplanted_fault` can be.
std::vector<std::string> KnownFaults();

// A configuration drawn from the seed.
Result RunScenario(uint64_t seed, const Watch &watch = Watch());

// One of a given size, without faults: decode and then prefill, each with dispatch and combine. Rows are random.
struct Size {
  uint32_t ranks;
  uint32_t cores;
  uint32_t experts;
  uint32_t tokens;  // of each rank
  uint32_t top_k;
  uint64_t row_bytes;
};

// Sees what the kernels of such a run do.
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
