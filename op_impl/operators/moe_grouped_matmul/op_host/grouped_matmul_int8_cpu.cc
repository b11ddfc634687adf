#include "operators/moe_grouped_matmul/op_host/grouped_matmul_int8_cpu.h"

#include <algorithm>
#include <cstring>

#include "host/visit_row_type.h"

namespace moe_comm {
namespace {

// A block of sums stays in the first-level cache while the weights of its columns are read. A row of weights serves all
// rows of the block.
constexpr int64_t kRows = 4;
constexpr int64_t kColumns = 1024;

struct Block {
  const int8_t *x;
  const int8_t *weight;
  const float *scale;
  const float *per_token_scale;
  const int32_t *bias;
  int64_t x_columns;
  int64_t inner;
  int64_t weight_columns;
  int64_t rows;     // at most kRows
  int64_t columns;  // at most kColumns
};

// Sums are unsigned because a bias may carry them past 2^31, where they wrap as on the NPU. A product of two int8
// fits int16, the width at which vector units multiply fastest.
inline __attribute__((always_inline)) void MultiplyRows(const Block &b, float *result) {
  uint32_t sums[kRows][kColumns];
  for (int64_t row = 0; row < b.rows; ++row) {
    for (int64_t column = 0; column < b.columns; ++column) {
      sums[row][column] = b.bias == nullptr ? 0 : static_cast<uint32_t>(b.bias[column]);
    }
  }
  for (int64_t k = 0; k < b.inner; ++k) {
    const int8_t *weight = b.weight + k * b.weight_columns;
    for (int64_t row = 0; row < b.rows; ++row) {
      const int8_t factor = b.x[row * b.x_columns + k];
      uint32_t *sum = sums[row];
      for (int64_t column = 0; column < b.columns; ++column) {
        const int16_t product = static_cast<int16_t>(factor * weight[column]);
        sum[column] += static_cast<uint32_t>(static_cast<int32_t>(product));
      }
    }
  }
  for (int64_t row = 0; row < b.rows; ++row) {
    for (int64_t column = 0; column < b.columns; ++column) {
      const float sum = static_cast<float>(static_cast<int32_t>(sums[row][column]));
      result[row * kColumns + column] = sum * b.scale[column] * b.per_token_scale[row];
    }
  }
}

#if defined(__x86_64__)
MOE_COMM_WIDE void MultiplyRowsWide(const Block &b, float *result) { MultiplyRows(b, result); }
#endif

void Multiply(const Block &b, float *result) {
#if defined(__x86_64__)
  if (numerics::HasWide()) return MultiplyRowsWide(b, result);
#endif
  MultiplyRows(b, result);
}

void Narrow(const float *source, uint8_t *target, int64_t at, int64_t count, DataType dtype) {
  VisitRowType(dtype, [&](auto zero) {
    using T = decltype(zero);
    T *to = reinterpret_cast<T *>(target) + at;
    if constexpr (std::is_same_v<T, float>) {
      std::copy_n(source, count, to);
    } else {
      numerics::Convert(to, source, static_cast<uint32_t>(count));
    }
  });
}

std::vector<float> ScaleOfGroup(const GroupedMatmulInt8 &p, int64_t group) {
  std::vector<float> scale(p.columns);
  const int64_t at = group * p.columns;
  if (p.scale_dtype == DataType::kFloat32) {
    std::memcpy(scale.data(), reinterpret_cast<const float *>(p.scale) + at, p.columns * sizeof(float));
  } else {
    numerics::Convert(scale.data(), reinterpret_cast<const bfloat16_t *>(p.scale) + at,
                      static_cast<uint32_t>(p.columns));
  }
  return scale;
}

void MultiplyGroup(const GroupedMatmulInt8 &p, int64_t group, int64_t begin, int64_t end) {
  const std::vector<float> scale = ScaleOfGroup(p, group);
  float result[kRows * kColumns];
  for (int64_t column = 0; column < p.columns; column += kColumns) {
    for (int64_t row = begin; row < end; row += kRows) {
      Block b;
      b.x = p.x + row * p.x_columns;
      b.weight = p.weight + group * p.inner * p.columns + column;
      b.scale = scale.data() + column;
      b.per_token_scale = p.per_token_scale + row;
      b.bias = p.bias == nullptr ? nullptr : p.bias + group * p.columns + column;
      b.x_columns = p.x_columns;
      b.inner = p.inner;
      b.weight_columns = p.columns;
      b.rows = std::min(kRows, end - row);
      b.columns = std::min(kColumns, p.columns - column);
      Multiply(b, result);
      for (int64_t i = 0; i < b.rows; ++i) {
        Narrow(result + i * kColumns, p.y, (row + i) * p.columns + column, b.columns, p.y_dtype);
      }
    }
  }
}

}  // namespace

void RunGroupedMatmulInt8(const GroupedMatmulInt8 &p) {
  int64_t begin = 0;
  for (size_t group = 0; group < p.group_ends.size(); ++group) {
    if (begin < p.group_ends[group]) MultiplyGroup(p, group, begin, p.group_ends[group]);
    begin = p.group_ends[group];
  }
}

}  // namespace moe_comm
