// The grouped matmul on a CPU, on a BLAS that is already there. (On Ascend it is the built-in GroupedMatmul.)
#ifndef MOE_COMM_GROUPED_MATMUL_CPU_H
#define MOE_COMM_GROUPED_MATMUL_CPU_H

#include <cstdint>

#include "common/glue/op.h"

namespace moe_comm {

// Fortran's SGEMM, column-major, as SciPy exports it to C.
using Sgemm = void (*)(char *trans_a, char *trans_b, int *m, int *n, int *k, float *alpha, float *a, int *lda,
                       float *b, int *ldb, float *beta, float *c, int *ldc);
void SetSgemm(Sgemm sgemm);

struct GroupedMatmul {
  const uint8_t *x;           // [M, K]
  const uint8_t *weight;      // [E, K, N]
  const int64_t *group_list;  // [E] counts, or inclusive cumulative sums
  uint8_t *y;                 // [M, N]
  int64_t rows;               // M
  int64_t inner;              // K
  int64_t columns;            // N
  int64_t groups;             // E
  bool cumulative;
  DataType dtype;             // of x, weight and y
};

// fp32 accumulation, one rounding. Rows past the last group are not written. Throws std::invalid_argument if the
// groups do not fit. The bits of a row do not depend on the other rows: blocks of a fixed size go to BLAS.
void RunGroupedMatmul(const GroupedMatmul &p);

}  // namespace moe_comm

#endif  // MOE_COMM_GROUPED_MATMUL_CPU_H
