// The grouped matmul on a CPU, through SciPy's BLAS. (On Ascend it is the built-in GroupedMatmul.)
#ifndef MOE_COMM_MOE_GROUPED_MATMUL_GROUPED_MATMUL_CPU_H
#define MOE_COMM_MOE_GROUPED_MATMUL_GROUPED_MATMUL_CPU_H

#include <cstdint>
#include <vector>

#include "host/operator.h"

namespace moe_comm {

// Fortran's SGEMM, column-major, as SciPy exports it to C.
using Sgemm = void (*)(char *trans_a, char *trans_b, int *m, int *n, int *k, float *alpha, float *a, int *lda, float *b,
                       int *ldb, float *beta, float *c, int *ldc);
void SetSgemm(Sgemm sgemm);

struct GroupedMatmul {
  const uint8_t *x;                 // [M, K]
  const uint8_t *weight;            // [E, K, N]
  std::vector<int64_t> group_ends;  // [E] the row after each group's last one
  uint8_t *y;                       // [M, N]
  int64_t inner;                    // K
  int64_t columns;                  // N
  DataType dtype;                   // of x, weight and y
};

// fp32 accumulation, one rounding. Rows past the last group are not written. The bits of a row do not depend on the
// other rows: blocks of a fixed size go to BLAS.
void RunGroupedMatmul(const GroupedMatmul &p);

}  // namespace moe_comm

#endif  // MOE_COMM_MOE_GROUPED_MATMUL_GROUPED_MATMUL_CPU_H
