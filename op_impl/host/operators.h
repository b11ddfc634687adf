// Every operator as one object, and its two entry points.
#ifndef MOE_COMM_HOST_OPERATORS_H
#define MOE_COMM_HOST_OPERATORS_H

#include "host/operator.h"
#include "op_signatures.h"

namespace moe_comm {

#define MOE_COMM_DECLARE(Op)                          \
  std::vector<Output> Infer##Op(const Arguments &in); \
  void Launch##Op(const Arguments &in, const std::vector<uint8_t *> &out, void *npu_stream);
MOE_COMM_FOR_EACH_OP(MOE_COMM_DECLARE)
#undef MOE_COMM_DECLARE

#define MOE_COMM_OPERATOR(Op, op) extern const Operator k##Op;
MOE_COMM_FOR_EACH_SIGNATURE(MOE_COMM_OPERATOR)
#undef MOE_COMM_OPERATOR

// In the order of ops_yaml.
std::vector<const Operator *> AllOperators();

}  // namespace moe_comm

#endif  // MOE_COMM_HOST_OPERATORS_H
