// Pairs of the faulty rank's last step that have a row: a combine can be misled there.
#ifndef MOE_COMM_TESTS_SIMULATION_FAULTS_PAIRS_H
#define MOE_COMM_TESTS_SIMULATION_FAULTS_PAIRS_H

#include <cstdint>
#include <vector>

#include "../options.h"
#include "../workload.h"

namespace simulation {

// The place in expand_idx of the first pair of an expert, or of a shared expert, that has a row; -1 if none has.
inline int64_t FirstPair(const Options &options, const Workload &workload, bool shared) {
  const std::vector<int32_t> &expand_idx = workload.steps[options.fault_step].expected.expand_idx[options.fault_rank];
  for (size_t i = 0; i < expand_idx.size(); ++i) {
    const bool of_shared = i % options.rules.Columns() >= options.top_k;
    if (expand_idx[i] >= 0 && of_shared == shared) return static_cast<int64_t>(i);
  }
  return -1;
}
inline int64_t FirstRoutedPair(const Options &options, const Workload &workload) {
  return FirstPair(options, workload, false);
}
inline int64_t FirstSharedPair(const Options &options, const Workload &workload) {
  return FirstPair(options, workload, true);
}

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_FAULTS_PAIRS_H
