// The element types that rows may have: one table, which everything else reads.
#ifndef MOE_COMM_CONTRACT_DTYPE_H
#define MOE_COMM_CONTRACT_DTYPE_H

#include <cstdint>

#ifndef __aicore__
#define __aicore__  // host compilers; the kernel compiler brings its own
#endif

namespace moe_comm {

// DTYPE(constant, code, type in kernels, bytes, name in MindSpore). Header, kernels and operators name them by code.
// clang-format off
#define MOE_COMM_DTYPES(DTYPE)              \
  DTYPE(kFloat32, 0, float, 4, "float32")   \
  DTYPE(kFloat16, 1, half, 2, "float16")    \
  DTYPE(kBfloat16, 2, bfloat16_t, 2, "bfloat16")
// clang-format on

enum Dtype : uint32_t {
#define MOE_COMM_DTYPE(constant, code, type, bytes, name) constant = code,
  MOE_COMM_DTYPES(MOE_COMM_DTYPE)
#undef MOE_COMM_DTYPE
};

#define MOE_COMM_DTYPE(constant, code, type, bytes, name) +1
constexpr uint32_t kDtypeCount = 0 MOE_COMM_DTYPES(MOE_COMM_DTYPE);
#undef MOE_COMM_DTYPE

constexpr int64_t kSameDtype = -1;  // as an operator's dtype attribute: the dtype of the tensor that it follows

// Bytes of an element, 0 if the table has no such code.
__aicore__ inline uint32_t BytesOf(uint64_t dtype) {
  switch (dtype) {
#define MOE_COMM_DTYPE(constant, code, type, bytes, name) \
  case code: return bytes;
    MOE_COMM_DTYPES(MOE_COMM_DTYPE)
#undef MOE_COMM_DTYPE
    default: return 0;
  }
}

}  // namespace moe_comm

#endif  // MOE_COMM_CONTRACT_DTYPE_H
