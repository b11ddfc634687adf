// Runs the kernels in simulation, seed after seed, until one shows a defect.
//
//   simulate --seed N            one seed, with its configuration
//   simulate --first N --seeds M
//   simulate --each M            from seed 1 on, until each kernel has run in at least M seeds
//   simulate --seed N --trace FILE   with a trace of the run, as host_twin/check/trace.h describes it
//   simulate --seed N --go-on yes    to the run's end, also after a race or a wrong result

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "scenario.h"

int main(int argc, char **argv) {
  uint64_t first = 1;
  uint64_t seeds = 100;
  uint64_t each = 0;
  bool verbose = false;
  simulation::Watch watch;
  for (int i = 1; i + 1 < argc; i += 2) {
    const uint64_t value = std::strtoull(argv[i + 1], nullptr, 10);
    if (std::strcmp(argv[i], "--seed") == 0) {
      first = value;
      seeds = 1;
      verbose = true;
    } else if (std::strcmp(argv[i], "--first") == 0) {
      first = value;
    } else if (std::strcmp(argv[i], "--seeds") == 0) {
      seeds = value;
    } else if (std::strcmp(argv[i], "--each") == 0) {
      each = value;
    } else if (std::strcmp(argv[i], "--trace") == 0) {
      watch.trace = argv[i + 1];
    } else if (std::strcmp(argv[i], "--go-on") == 0) {
      watch.goes_on = std::strcmp(argv[i + 1], "yes") == 0;
    } else {
      std::fprintf(stderr, "unknown argument %s; see the head of tests/simulate.sh\n", argv[i]);
      return 2;
    }
  }
  const auto start = std::chrono::steady_clock::now();
  static const char *const kKernels[] = {"decode dispatch", "decode combine", "prefill dispatch", "prefill combine"};
  uint64_t rank_steps = 0;
  uint64_t scheduler_steps = 0;
  uint64_t run = 0;
  uint64_t kernel_seeds[simulation::kKernelCount] = {};
  const auto enough = [&] {
    if (each == 0) return run == seeds;
    for (const uint64_t kernel : kernel_seeds) {
      if (kernel < each) return false;
    }
    return true;
  };
  for (uint64_t seed = first; !enough(); ++seed, ++run) {
    const simulation::Result result = simulation::RunScenario(seed, watch);
    if (verbose) std::printf("seed %lu: %s\n", seed, result.configuration.c_str());
    rank_steps += result.rank_steps;
    scheduler_steps += result.scheduler_steps;
    for (size_t k = 0; k < simulation::kKernelCount; ++k) kernel_seeds[k] += result.kernels[k] != 0;
    if (result.report.empty()) continue;
    std::printf("seed %lu: %s\n%s\nreplay: bash tests/simulate.sh --seed %lu\n", seed, result.configuration.c_str(),
                result.report.c_str(), seed);
    return 1;
  }
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
  std::printf("seeds %lu to %lu clean: %lu kernel launches on a rank, %lu scheduler steps, %.1f s (%.0f launches/s)\n",
              first, first + run - 1, rank_steps, scheduler_steps, spent.count(), rank_steps / spent.count());
  for (size_t k = 0; k < simulation::kKernelCount; ++k) {
    std::printf("  %-16s in %lu seeds\n", kKernels[k], kernel_seeds[k]);
  }
  return 0;
}
