// The C++ type of a dtype of rows, for operators that the CPU computes without a kernel.
#ifndef MOE_COMM_HOST_VISIT_ROW_TYPE_H
#define MOE_COMM_HOST_VISIT_ROW_TYPE_H

#include <stdexcept>

#include "host/operator.h"
#include "host_twin/numerics.h"

namespace moe_comm {

// Calls `visitor` with a value of the type. Throws std::logic_error for a dtype that rows cannot have.
template <typename Visitor>
void VisitRowType(DataType dtype, Visitor &&visitor) {
  switch (dtype) {
#define MOE_COMM_DTYPE(constant, code, type, bytes, name) \
  case DataType::constant: return visitor(type{});
    MOE_COMM_DTYPES(MOE_COMM_DTYPE)
#undef MOE_COMM_DTYPE
    default: throw std::logic_error("no row has the dtype " + std::string(Name(dtype)));
  }
}

}  // namespace moe_comm

#endif  // MOE_COMM_HOST_VISIT_ROW_TYPE_H
