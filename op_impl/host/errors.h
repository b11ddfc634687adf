// What a window's record of an error says to a user.
#ifndef MOE_COMM_HOST_ERRORS_H
#define MOE_COMM_HOST_ERRORS_H

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "contract/errors.h"

namespace moe_comm {

// What a sentence needs from the window, beside the record.
struct ErrorContext {
  uint64_t timeout_us;
  int64_t expert_num;
  // The part `aborted`. Each rank writes its own error to its line.
  std::function<std::vector<int64_t>()> aborted;
};

// One sentence or two: what happened, the value, the limit, what to do.
std::string Sentence(const int64_t *record, const ErrorContext &context);

// "2.5 s"
std::string Seconds(uint64_t microseconds);

}  // namespace moe_comm

#endif  // MOE_COMM_HOST_ERRORS_H
