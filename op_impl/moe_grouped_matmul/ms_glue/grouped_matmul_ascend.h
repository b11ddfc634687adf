// What PyNative on Ascend needs to know of operators that CANN has built in.
#ifndef MOE_COMM_GROUPED_MATMUL_ASCEND_H
#define MOE_COMM_GROUPED_MATMUL_ASCEND_H

#include "common/glue/framework.h"

namespace moe_comm {

// Queues `op` if CANN has it built in; false if it is an operator of our own. `tensors`: those among the arguments.
bool QueueBuiltIn(const Operator &op, const Arguments &arguments, const std::vector<ms::Tensor> &tensors,
                  const std::vector<ms::Tensor> &outputs);

}  // namespace moe_comm

#endif  // MOE_COMM_GROUPED_MATMUL_ASCEND_H
