// The operators that CANN has built in. Compiled only with CANN.
#ifndef MOE_COMM_ASCEND_GROUPED_MATMUL_ASCEND_H
#define MOE_COMM_ASCEND_GROUPED_MATMUL_ASCEND_H

#include "mindspore/framework.h"

namespace moe_comm {

// The factory of the kernel of `op` in graph mode; empty if it is an operator of our own.
mindspore::kernel::KernelCreator BuiltInKernel(const Operator &op);

// For PyNative: see AscendPart.
bool QueueBuiltIn(const Operator &op, const Arguments &arguments, const std::vector<ms::Tensor> &tensors,
                  const std::vector<ms::Tensor> &outputs);

}  // namespace moe_comm

#endif  // MOE_COMM_ASCEND_GROUPED_MATMUL_ASCEND_H
