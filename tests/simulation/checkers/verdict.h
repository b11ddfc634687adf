// The verdict of a dispatch whose rows do not fit into a window.
#ifndef MOE_COMM_TESTS_SIMULATION_CHECKERS_VERDICT_H
#define MOE_COMM_TESTS_SIMULATION_CHECKERS_VERDICT_H

#include <algorithm>
#include <cstdint>
#include <vector>

#include "../reference.h"
#include "contract/errors.h"
#include "contract/window_schema.h"
#include "witness.h"

namespace simulation {

// Checks the verdict of one rank. A host that looks at once takes the verdict away; on an NPU the first verdict stays
// until the host looks.
class VerdictChecker {
 public:
  // Called after a dispatch. `taken`: whether the host takes the verdict away.
  void Check(const Witness &witness, uint64_t epoch, const Expected &expected, uint64_t capacity, bool taken) {
    const uint64_t *header = witness.Header();
    if (untold_ == nullptr && expected.most_rows > capacity) untold_ = &expected, epoch_ = epoch;
    const bool told = header[moe_comm::kVerdictCode] == moe_comm::kOverflow;
    if (told != (untold_ != nullptr)) witness.Fail("the overflow verdict is wrong");
    if (untold_ == nullptr) return;
    witness.Compare("the verdict's epoch", header[moe_comm::kVerdictEpoch], epoch_);
    CheckVerdict(witness, header, *untold_, capacity);
    if (!taken) return;
    untold_ = nullptr;
    uint64_t *code = reinterpret_cast<uint64_t *>(witness.window) + moe_comm::kVerdictCode;
    *code = moe_comm::kNoError;
    witness.simulator.Touch(witness.rank, code, sizeof(*code), true);
  }
  // Called when the window was resumed.
  void Forget() { untold_ = nullptr; }

 private:
  static void CheckVerdict(const Witness &witness, const uint64_t *header, const Expected &expected,
                           uint64_t capacity) {
    uint64_t first = 0;
    while (expected.rows[first].size() <= capacity) ++first;
    witness.Compare("the overfull rank", header[moe_comm::kVerdictRank], first);
    witness.Compare("its need", header[moe_comm::kVerdictNeed], expected.rows[first].size());
    std::vector<uint64_t> sent(expected.rows.size(), 0);
    for (const Row &row : expected.rows[first]) ++sent[row.source];
    witness.Compare("the rank that sends it most", header[moe_comm::kVerdictSource],
                    std::max_element(sent.begin(), sent.end()) - sent.begin());
  }

  const Expected *untold_ = nullptr;  // results of the first step that did not fit since the host last looked
  uint64_t epoch_ = 0;
};

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_CHECKERS_VERDICT_H
