// What the canary kernel writes and the host expects: a line per core. The first half holds the core's own word, the
// second half the word that the core read in the next core's line after all cores had met.
#ifndef MOE_COMM_CONTRACT_CANARY_LINES_H
#define MOE_COMM_CONTRACT_CANARY_LINES_H

#include <cstdint>

namespace moe_comm {

constexpr uint64_t kCanaryHalfBytes = 32;
constexpr uint64_t kCanaryLineBytes = 64;
constexpr uint64_t kCanaryWord = 0x63616e6172790000ULL;  // core i writes kCanaryWord + i

}  // namespace moe_comm

#endif  // MOE_COMM_CONTRACT_CANARY_LINES_H
