// The error record of a rank: it exists when the fault must show, and the fault explains it.
#ifndef MOE_COMM_TESTS_SIMULATION_CHECKERS_ERRORS_H
#define MOE_COMM_TESTS_SIMULATION_CHECKERS_ERRORS_H

#include <cstdint>
#include <string>

#include "../faults/fault.h"
#include "contract/errors.h"
#include "contract/window_schema.h"
#include "witness.h"

namespace simulation {

// The record of the first block that has failed, or nullptr.
inline const int64_t *FindRecord(const Witness &witness, uint32_t cores) {
  for (uint32_t block = 0; block < cores; ++block) {
    const int64_t *record = reinterpret_cast<const int64_t *>(witness.window + witness.layout.records(block));
    witness.Touch(record, moe_comm::kLineBytes);
    if (record[moe_comm::kCode] != moe_comm::kNoError) return record;
  }
  return nullptr;
}

// Checks the record of a rank and returns it, or nullptr if the rank has none. `combined`: whether combine has run.
inline const int64_t *CheckError(const Witness &witness, const Moment &at, const Fault &fault, bool combined) {
  const int64_t *record = FindRecord(witness, at.options.cores);
  if (record == nullptr) {
    if (fault.MustFail(at, combined)) {
      witness.Fail("no error although rank " + std::to_string(at.options.fault_rank) + " failed");
    }
    return nullptr;
  }
  if (fault.Explains(at, record)) return record;
  std::string text = "the error record";
  for (uint32_t i = 0; i < moe_comm::kRecordWords; ++i) text += " " + std::to_string(record[i]);
  witness.Fail(text + ", as if of something else");
  return record;
}

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_CHECKERS_ERRORS_H
