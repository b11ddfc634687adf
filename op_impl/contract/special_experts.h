// Special experts have the ids behind the experts'; in combine these are always the E physical experts. Combine
// computes special experts on the token's own rank, without traffic or a row.
//
//   zero [E, E+Z)    copy [E+Z, E+Z+C)    constant [E+Z+C, E+Z+C+V)
#ifndef MOE_COMM_CONTRACT_SPECIAL_EXPERTS_H
#define MOE_COMM_CONTRACT_SPECIAL_EXPERTS_H

#include "contract/window_schema.h"

namespace moe_comm {

constexpr int32_t kSpecialExpert = -3;  // in expand_idx

struct SpecialExperts {
  uint32_t zero;      // Z
  uint32_t copy;      // C
  uint32_t constant;  // V
};

__aicore__ inline uint32_t Total(const SpecialExperts &s) { return s.zero + s.copy + s.constant; }

// `special` is the id of a special expert, counted from E.
__aicore__ inline bool IsCopy(const SpecialExperts &s, uint32_t special) {
  return special >= s.zero && special < s.zero + s.copy;
}
__aicore__ inline bool IsConstant(const SpecialExperts &s, uint32_t special) { return special >= s.zero + s.copy; }
__aicore__ inline uint32_t ConstantIndex(const SpecialExperts &s, uint32_t special) {
  return special - s.zero - s.copy;
}

}  // namespace moe_comm

#endif  // MOE_COMM_CONTRACT_SPECIAL_EXPERTS_H
