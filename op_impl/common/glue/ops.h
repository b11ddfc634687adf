// Every operator's two entry points, for the registration.
#ifndef MOE_COMM_GLUE_OPS_H
#define MOE_COMM_GLUE_OPS_H

#include "common/glue/op.h"
#include "op_signatures.h"

namespace moe_comm {

#define MOE_COMM_DECLARE(Op)                          \
  std::vector<Output> Infer##Op(const Arguments &in); \
  void Launch##Op(const Arguments &in, const std::vector<uint8_t *> &out, void *npu_stream);
MOE_COMM_FOR_EACH_OP(MOE_COMM_DECLARE)
#undef MOE_COMM_DECLARE

}  // namespace moe_comm

#endif  // MOE_COMM_GLUE_OPS_H
