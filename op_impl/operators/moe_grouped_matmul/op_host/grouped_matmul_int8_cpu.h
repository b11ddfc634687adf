// The grouped matmul of int8 rows with int8 weights on a CPU. (On Ascend it is the built-in GroupedMatmul.)
#ifndef MOE_COMM_MOE_GROUPED_MATMUL_GROUPED_MATMUL_INT8_CPU_H
#define MOE_COMM_MOE_GROUPED_MATMUL_GROUPED_MATMUL_INT8_CPU_H

#include <cstdint>
#include <vector>

#include "host/operator.h"

namespace moe_comm {

// The longest inner dimension whose sums are exact in int32 whatever the weights, with rows in -127 to 127 as the
// quantisation makes them: 132104 * 127 * 128 < 2^31.
constexpr int64_t kMaxInt8Inner = 132104;

struct GroupedMatmulInt8 {
  const int8_t *x;  // [M, x_columns], of which the first K columns count
  int64_t x_columns;
  const int8_t *weight;             // [E, K, N]
  std::vector<int64_t> group_ends;  // [E] the row after each group's last one
  const uint8_t *scale;             // [E, N] float32 or bfloat16
  DataType scale_dtype;
  const float *per_token_scale;  // [M]
  const int32_t *bias;           // [E, N], or nullptr for zeros
  uint8_t *y;                    // [M, N] float32, float16 or bfloat16
  DataType y_dtype;
  int64_t inner;    // K
  int64_t columns;  // N
};

// y = round(float32(int32 sum + bias) * scale * per_token_scale), each operation rounded, in this order. Rows past the
// last group are not written.
void RunGroupedMatmulInt8(const GroupedMatmulInt8 &p);

}  // namespace moe_comm

#endif  // MOE_COMM_MOE_GROUPED_MATMUL_GROUPED_MATMUL_INT8_CPU_H
