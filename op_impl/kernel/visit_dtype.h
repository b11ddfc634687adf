// Turns the code of a dtype into its type. No kernel chooses by a dtype elsewhere.
#ifndef MOE_COMM_KERNEL_VISIT_DTYPE_H
#define MOE_COMM_KERNEL_VISIT_DTYPE_H

#include "contract/dtype.h"
#include "kernel_operator.h"

namespace moe_comm {

// Calls `visitor.Visit<T>()` for the type T of the code. False if the table has no such code.
template <typename Visitor>
__aicore__ inline bool VisitDtype(uint32_t dtype, Visitor visitor) {
  switch (dtype) {
#define MOE_COMM_DTYPE(constant, code, type, bytes, name)                         \
  case code:                                                                      \
    static_assert(sizeof(type) == bytes, "the table's bytes are those of " name); \
    visitor.template Visit<type>();                                               \
    return true;
    MOE_COMM_DTYPES(MOE_COMM_DTYPE)
#undef MOE_COMM_DTYPE
    default: return false;
  }
}

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_VISIT_DTYPE_H
