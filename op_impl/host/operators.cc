#include "host/operators.h"

namespace moe_comm {

#define MOE_COMM_OPERATOR(Op, op)                         \
  const Operator k##Op = {signatures::op::kName,          \
                          Infer##Op,                      \
                          Launch##Op,                     \
                          signatures::op::kArguments,     \
                          signatures::op::kArgumentNames, \
                          signatures::op::kIsScalar,      \
                          signatures::op::kIsOptional,    \
                          signatures::op::kResults,       \
                          signatures::op::kInPlace,       \
                          signatures::op::kHasWindow};
MOE_COMM_FOR_EACH_SIGNATURE(MOE_COMM_OPERATOR)
#undef MOE_COMM_OPERATOR

std::vector<const Operator *> AllOperators() {
#define MOE_COMM_OPERATOR(Op, op) &k##Op,
  return {MOE_COMM_FOR_EACH_SIGNATURE(MOE_COMM_OPERATOR)};
#undef MOE_COMM_OPERATOR
}

}  // namespace moe_comm
