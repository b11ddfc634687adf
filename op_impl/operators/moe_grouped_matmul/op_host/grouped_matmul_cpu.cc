#include "operators/moe_grouped_matmul/op_host/grouped_matmul_cpu.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "host/visit_row_type.h"

namespace moe_comm {
namespace {

// Rows per BLAS call; the last call is padded with zeros. BLAS may sum in another order for another number of rows.
// With the same number in every call, a row's bits do not depend on how many rows its expert got.
constexpr int kRowBlock = 16;

Sgemm g_sgemm = nullptr;

template <typename T>
const float *Widen(const T *source, int64_t count, std::vector<float> *buffer) {
  buffer->resize(count);
  numerics::Convert(buffer->data(), source, static_cast<uint32_t>(count));
  return buffer->data();
}
const float *Widen(const float *source, int64_t, std::vector<float> *) { return source; }

template <typename T>
void Narrow(T *target, const float *source, int64_t count) {
  numerics::Convert(target, source, static_cast<uint32_t>(count));
}
void Narrow(float *target, const float *source, int64_t count) { std::memcpy(target, source, count * sizeof(float)); }

// Row-major y = x w is column-major y^T = w^T x^T, and a row-major matrix is its transpose in column-major order.
void MultiplyBlock(const float *x, const float *weight, float *y, int inner, int columns) {
  char no = 'N';
  int rows = kRowBlock;
  float one = 1.0f;
  float zero = 0.0f;
  g_sgemm(&no, &no, &columns, &rows, &inner, &one, const_cast<float *>(weight), &columns, const_cast<float *>(x),
          &inner, &zero, y, &columns);
}

template <typename T>
void MultiplyGroup(const GroupedMatmul &p, int64_t group, int64_t begin, int64_t end) {
  static thread_local std::vector<float> weight_buffer;
  static thread_local std::vector<float> x_block;
  static thread_local std::vector<float> y_block;
  const int64_t matrix = p.inner * p.columns;
  const float *weight = Widen(reinterpret_cast<const T *>(p.weight) + group * matrix, matrix, &weight_buffer);
  y_block.resize(kRowBlock * p.columns);
  for (int64_t row = begin; row < end; row += kRowBlock) {
    const int64_t rows = std::min<int64_t>(kRowBlock, end - row);
    std::vector<float> widened;
    const T *x = reinterpret_cast<const T *>(p.x) + row * p.inner;
    x_block.assign(kRowBlock * p.inner, 0.0f);
    std::memcpy(x_block.data(), Widen(x, rows * p.inner, &widened), rows * p.inner * sizeof(float));
    MultiplyBlock(x_block.data(), weight, y_block.data(), static_cast<int>(p.inner), static_cast<int>(p.columns));
    Narrow(reinterpret_cast<T *>(p.y) + row * p.columns, y_block.data(), rows * p.columns);
  }
}

}  // namespace

void SetSgemm(Sgemm sgemm) { g_sgemm = sgemm; }

void RunGroupedMatmul(const GroupedMatmul &p) {
  if (g_sgemm == nullptr) throw std::runtime_error("no BLAS: import ms_moe_comm before its operators are used");
  int64_t begin = 0;
  for (size_t group = 0; group < p.group_ends.size(); ++group) {
    const int64_t end = p.group_ends[group];
    if (begin < end) VisitRowType(p.dtype, [&](auto zero) { MultiplyGroup<decltype(zero)>(p, group, begin, end); });
    begin = end;
  }
}

}  // namespace moe_comm
