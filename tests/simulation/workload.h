// What the ranks do: a few steps, each with tokens, routes, experts' outputs and expected results.
#ifndef MOE_COMM_TESTS_SIMULATION_WORKLOAD_H
#define MOE_COMM_TESTS_SIMULATION_WORKLOAD_H

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "draw.h"
#include "options.h"
#include "reference.h"

namespace simulation {

struct Step {
  std::vector<bool> prefill;  // of each rank, else decode
  bool combine = false;
  bool in_place = false;
  std::vector<Tokens> tokens;  // of each rank
  Expected expected;
  std::vector<std::vector<uint8_t>> outputs;  // of the experts, for each rank's rows
  std::vector<float> smooth;                  // [H] or [experts, H]
  uint32_t out_dtype = 0;                     // of y
  Special special;
  bool keeps = false;              // it keeps the plan of the step before
  std::vector<uint8_t> rank_mask;  // given to the dispatch; empty: None

  bool AllPrefill() const { return std::count(prefill.begin(), prefill.end(), false) == 0; }
};

struct Workload {
  uint64_t capacity = 1;  // of the windows
  std::vector<Step> steps;

  bool Fits(const Step &step) const { return step.expected.most_rows <= capacity; }
};

// Also plants the options' fault, or gives it up.
Workload DrawWorkload(Options &options, Draw &draw);
// Decode and then prefill, with so many tokens on each rank.
Workload PlainWorkload(const Options &options, uint32_t token_num, Draw &draw);

// The kind of smooth factors with which the rank quantises: one rank may have none.
uint32_t SmoothKindOf(const Options &options, uint32_t rank, uint64_t step);
// Bytes of a row of y.
uint64_t ResultBytes(const Options &options, const Step &step);

std::string Describe(const Options &options, const Workload &workload);

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_WORKLOAD_H
