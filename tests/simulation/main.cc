// Runs the kernels in simulation, seed after seed, until one shows a defect.
//
//   simulate --seed N            one seed, with its configuration
//   simulate --first N --seeds M
//   simulate --each M            from seed 1 on, until each kernel has run in at least M seeds
//   simulate --seed N --trace FILE   with a trace of the run, as host_twin/check/trace.h describes it
//   simulate --seed N --go-on yes    continues to the run's end after a race or a wrong result

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <string>

#include "scenario.h"

namespace {

struct Command {
  uint64_t first = 1;
  uint64_t seeds = 100;
  uint64_t each = 0;  // 0: run `seeds` seeds
  bool verbose = false;
  simulation::Watch watch;
};

// False if an argument is unknown, which it prints.
bool Parse(int argc, char **argv, Command *command) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    const uint64_t value = std::strtoull(argv[i + 1], nullptr, 10);
    if (name == "--seed") {
      command->first = value;
      command->seeds = 1;
      command->verbose = true;
    } else if (name == "--first") {
      command->first = value;
    } else if (name == "--seeds") {
      command->seeds = value;
    } else if (name == "--each") {
      command->each = value;
    } else if (name == "--trace") {
      command->watch.trace = argv[i + 1];
    } else if (name == "--go-on") {
      command->watch.goes_on = std::strcmp(argv[i + 1], "yes") == 0;
    } else {
      std::fprintf(stderr, "unknown argument %s; see the head of tests/simulate.sh\n", argv[i]);
      return false;
    }
  }
  return true;
}

// Sums over the runs.
class Tally {
 public:
  explicit Tally(const Command &command) {
    for (const std::string &fault : simulation::KnownFaults()) {
      if (!command.verbose) faults_[fault] = {};
    }
  }

  void Add(const simulation::Result &result) {
    ++runs_;
    rank_steps_ += result.rank_steps;
    scheduler_steps_ += result.scheduler_steps;
    for (size_t k = 0; k < simulation::kKernelCount; ++k) kernel_seeds_[k] += result.kernels[k] != 0;
    if (!result.fault.empty()) ++faults_[result.fault].planted;
    if (!result.unplanted_fault.empty()) ++faults_[result.unplanted_fault].not_planted;
  }

  bool Enough(const Command &command) const {
    if (command.each == 0) return runs_ == command.seeds;
    return *std::min_element(std::begin(kernel_seeds_), std::end(kernel_seeds_)) >= command.each;
  }

  void Print(uint64_t first, double seconds) const {
    static const char *const kKernels[] = {"decode dispatch", "decode combine", "prefill dispatch", "prefill combine"};
    std::printf("seeds %lu to %lu clean: %lu kernel launches on a rank, %lu scheduler steps, "
                "%.1f s (%.0f launches/s)\n",
                first, first + runs_ - 1, rank_steps_, scheduler_steps_, seconds, rank_steps_ / seconds);
    for (size_t k = 0; k < simulation::kKernelCount; ++k) {
      std::printf("  %-16s in %lu seeds\n", kKernels[k], kernel_seeds_[k]);
    }
    for (const auto &[fault, times] : faults_) {
      std::printf("  %s: planted %lu, could not be planted %lu\n", fault.c_str(), times.planted, times.not_planted);
    }
  }

 private:
  struct Times {
    uint64_t planted = 0;
    uint64_t not_planted = 0;
  };
  uint64_t runs_ = 0;
  uint64_t rank_steps_ = 0;
  uint64_t scheduler_steps_ = 0;
  uint64_t kernel_seeds_[simulation::kKernelCount] = {};
  std::map<std::string, Times> faults_;
};

}  // namespace

int main(int argc, char **argv) {
  Command command;
  if (!Parse(argc, argv, &command)) return 2;
  const auto start = std::chrono::steady_clock::now();
  Tally tally(command);
  for (uint64_t seed = command.first; !tally.Enough(command); ++seed) {
    const simulation::Result result = simulation::RunScenario(seed, command.watch);
    if (command.verbose) {
      std::printf("seed %lu: %s\n  more: %s\n", seed, result.configuration.c_str(), result.more.c_str());
    }
    tally.Add(result);
    if (result.report.empty()) continue;
    std::printf("seed %lu: %s\n%s\nreplay: bash tests/simulate.sh --seed %lu\n", seed, result.configuration.c_str(),
                result.report.c_str(), seed);
    return 1;
  }
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
  tally.Print(command.first, spent.count());
  return 0;
}
