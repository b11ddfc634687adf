// Reads the results of a rank's step for the checkers and reports what is wrong. A race is reported at the checker's
// line.
#ifndef MOE_COMM_TESTS_SIMULATION_CHECKERS_WITNESS_H
#define MOE_COMM_TESTS_SIMULATION_CHECKERS_WITNESS_H

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "contract/window_schema.h"
#include "host_twin/check/simulator.h"

namespace simulation {

struct Witness {
  using Site = AscendC::backend::Site;

  AscendC::backend::Simulator &simulator;
  uint32_t rank;
  uint64_t step;
  uint8_t *window;
  const moe_comm::WindowLayout &layout;

  void Fail(const std::string &what) const {
    simulator.Report("wrong result: rank " + std::to_string(rank) + ", step " + std::to_string(step) + ": " + what);
  }
  void Compare(const char *what, uint64_t got, uint64_t expected) const {
    if (got == expected) return;
    Fail(std::string(what) + " is " + std::to_string(got) + ", expected " + std::to_string(expected));
  }
  void CompareBytes(const char *what, const void *got, const void *expected, uint64_t bytes,
                    Site site = Site::Here()) const {
    Touch(got, bytes, site);
    if (std::memcmp(got, expected, bytes) != 0) Fail(std::string(what) + " differ from the reference");
  }
  template <typename T>
  void CompareAll(const char *what, const void *got, const std::vector<T> &expected, Site site = Site::Here()) const {
    CompareBytes(what, got, expected.data(), expected.size() * sizeof(T), site);
  }
  const uint64_t *Header(Site site = Site::Here()) const {
    Touch(window, moe_comm::kFieldCount * sizeof(uint64_t), site);
    return reinterpret_cast<const uint64_t *>(window);
  }
  // Reads as the rank's host.
  void Touch(const void *address, uint64_t bytes, Site site = Site::Here()) const {
    simulator.Touch(rank, address, bytes, false, false, site);
  }
};

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_CHECKERS_WITNESS_H
