// Element types of rows, as window header and kernels name them.
#ifndef MOE_COMM_CONTRACT_DTYPE_H
#define MOE_COMM_CONTRACT_DTYPE_H

#include <cstdint>

namespace moe_comm {

enum Dtype : uint32_t { kFloat32 = 0, kFloat16 = 1, kBfloat16 = 2, kDtypeCount };
constexpr int64_t kSameDtype = -1;  // of an operator's dtype attribute: that of the tensor it follows

}  // namespace moe_comm

#endif  // MOE_COMM_CONTRACT_DTYPE_H
