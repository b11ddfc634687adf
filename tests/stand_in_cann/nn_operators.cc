// libopapi: the aclnn operators that the rehearsal's graphs need. Plain loops; arithmetic in float, as on the device.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <stdexcept>

#include "nn.h"

using namespace stand_in;  // the whole file uses its tensors

namespace {

using T = const aclTensor *;
using S = const aclScalar *;
using L = const aclTensorList *;

void Require(bool holds, const char *what) {
  if (!holds) throw std::invalid_argument(what);
}
float F(double value) { return static_cast<float>(value); }

// The memory may overlap. Values that keep their type keep their bits.
void Copy(T source, T target) {
  if (source->type == target->type) {
    const size_t bytes = aclDataTypeSize(source->type);
    std::vector<uint8_t> values(Count(target) * bytes);
    for (int64_t i = 0; i < Count(target); ++i) {
      std::memcpy(&values[i * bytes], At(source, target->shape, i), bytes);
    }
    for (int64_t i = 0; i < Count(target); ++i) {
      std::memcpy(At(target, target->shape, i), &values[i * bytes], bytes);
    }
    return;
  }
  ForEach(target, [=](int64_t i) { return Read(source, target->shape, i); });
}

void MatMul(T a, T b, T y) {
  const size_t rank = y->shape.size();
  Require(b->shape.size() == 2, "a matmul by one matrix");
  const int64_t rows = Count(y) / std::max<int64_t>(1, y->shape[rank - 1]);
  const int64_t columns = y->shape[rank - 1], inner = a->shape.back();
  const std::vector<float> left = Floats(a), right = Floats(b);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      float sum = 0;
      for (int64_t k = 0; k < inner; ++k) sum += left[row * inner + k] * right[k * columns + column];
      Write(y, row * columns + column, sum);
    }
  }
}

// One tensor x [rows, inner], weights [groups, inner, columns] and y [rows, columns]. Rows after the last group are not
// written.
void GroupedMatMul(T x, T weight, T bias, T scale, T token_scale, T groups, int64_t list_type, T y) {
  const int64_t inner = weight->shape[1], columns = weight->shape[2];
  const std::vector<float> weights = Floats(weight);
  int64_t row = 0;
  for (int64_t group = 0; group < weight->shape[0]; ++group) {
    const auto listed = static_cast<int64_t>(Read(groups, group));
    const int64_t end = list_type == 1 ? row + listed : listed;  // 1: counts, 0: cumulative sums
    Require(end <= x->shape[0], "the group list leads past the rows");
    for (; row < end; ++row) {
      for (int64_t column = 0; column < columns; ++column) {
        double sum = 0;
        for (int64_t k = 0; k < inner; ++k) {
          const float product = F(Read(x, row * inner + k)) * weights[(group * inner + k) * columns + column];
          sum = scale == nullptr ? F(sum) + product : sum + product;  // integers are added without rounding
        }
        if (bias != nullptr) sum += Read(bias, group * columns + column);
        if (scale != nullptr) sum = F(sum) * F(Read(scale, group * columns + column));
        if (token_scale != nullptr) sum = F(sum) * F(Read(token_scale, row));
        Write(y, row * columns + column, sum);
      }
    }
  }
}

T Only(L list) { return list == nullptr || list->tensors.empty() ? nullptr : list->tensors[0]; }

}  // namespace

#define WORKSPACE uint64_t *workspace, aclOpExecutor **executor

#define UNARY(name, expression)                                   \
  aclError aclnn##name##GetWorkspaceSize(T a, T out, WORKSPACE) { \
    return Prepare(workspace, executor, +[](T a, T out) {         \
      ForEach(out, [=](int64_t i) {                               \
        const float x = F(Read(a, out->shape, i));                \
        return static_cast<double>(expression);                   \
      });                                                         \
    }, a, out);                                                   \
  }                                                               \
  LAUNCH(aclnn##name)

#define BINARY(name, expression)                                             \
  aclError aclnn##name##GetWorkspaceSize(T a, T b, T out, WORKSPACE) {       \
    return Prepare(workspace, executor, +[](T a, T b, T out) {               \
      ForEach(out, [=](int64_t i) {                                          \
        const double x = Read(a, out->shape, i), y = Read(b, out->shape, i); \
        return static_cast<double>(expression);                              \
      });                                                                    \
    }, a, b, out);                                                           \
  }                                                                          \
  LAUNCH(aclnn##name)

#define WITH_SCALAR(name, expression)                                  \
  aclError aclnn##name##GetWorkspaceSize(T a, S b, T out, WORKSPACE) { \
    return Prepare(workspace, executor, +[](T a, S b, T out) {         \
      const double y = b->value;                                       \
      ForEach(out, [=](int64_t i) {                                    \
        const double x = Read(a, out->shape, i);                       \
        return static_cast<double>(expression);                        \
      });                                                              \
    }, a, b, out);                                                     \
  }                                                                    \
  LAUNCH(aclnn##name)

#define SUM(name, sign)                                                                                               \
  aclError aclnn##name##GetWorkspaceSize(T a, T b, S alpha, T out, WORKSPACE) {                                       \
    return Prepare(workspace, executor, +[](T a, T b, S alpha, T out) {                                               \
      ForEach(out,                                                                                                    \
              [=](int64_t i) { return F(Read(a, out->shape, i)) sign F(alpha->value) * F(Read(b, out->shape, i)); }); \
    }, a, b, alpha, out);                                                                                             \
  }                                                                                                                   \
  LAUNCH(aclnn##name)                                                                                                 \
  aclError aclnn##name##sGetWorkspaceSize(T a, S b, S alpha, T out, WORKSPACE) {                                      \
    return Prepare(workspace, executor, +[](T a, S b, S alpha, T out) {                                               \
      ForEach(out, [=](int64_t i) { return F(Read(a, out->shape, i)) sign F(alpha->value * b->value); });             \
    }, a, b, alpha, out);                                                                                             \
  }                                                                                                                   \
  LAUNCH(aclnn##name##s)

extern "C" {

UNARY(Exp, std::exp(x))
UNARY(Neg, -x)
UNARY(Abs, std::fabs(x))
UNARY(Silu, x / (1 + std::exp(-x)))
UNARY(Sigmoid, 1 / (1 + std::exp(-x)))
BINARY(Mul, F(x) * F(y))
BINARY(Div, F(x) / F(y))
BINARY(Minimum, std::min(x, y))
BINARY(Maximum, std::max(x, y))
WITH_SCALAR(Muls, F(x) * F(y))
WITH_SCALAR(Divs, F(x) / F(y))
WITH_SCALAR(LtScalar, x < y)
WITH_SCALAR(GeScalar, x >= y)
SUM(Add, +)
SUM(Sub, -)

aclError aclnnInplaceCopyGetWorkspaceSize(T target, T source, WORKSPACE) {
  return Prepare(workspace, executor, +[](T to, T from) { Copy(from, to); }, target, source);
}
LAUNCH(aclnnInplaceCopy)
aclError aclnnCastGetWorkspaceSize(T source, aclDataType, T target, WORKSPACE) {
  return Prepare(workspace, executor, Copy, source, target);
}
LAUNCH(aclnnCast)
aclError aclnnInplaceZeroGetWorkspaceSize(T target, WORKSPACE) {
  return Prepare(workspace, executor, +[](T to) { ForEach(to, [](int64_t) { return 0.0; }); }, target);
}
LAUNCH(aclnnInplaceZero)
aclError aclnnInplaceOneGetWorkspaceSize(T target, WORKSPACE) {
  return Prepare(workspace, executor, +[](T to) { ForEach(to, [](int64_t) { return 1.0; }); }, target);
}
LAUNCH(aclnnInplaceOne)

aclError aclnnSoftmaxGetWorkspaceSize(T a, int64_t dimension, T out, WORKSPACE) {
  return Prepare(workspace, executor, +[](T a, int64_t dimension, T out) {
    const auto rank = static_cast<int64_t>(a->shape.size());
    Require(dimension == -1 || dimension == rank - 1, "Softmax along the last dimension");
    const int64_t columns = a->shape.back(), rows = columns == 0 ? 0 : Count(a) / columns;
    for (int64_t row = 0; row < rows; ++row) {
      std::vector<float> values(columns);
      for (int64_t i = 0; i < columns; ++i) values[i] = F(Read(a, row * columns + i));
      const float largest = *std::max_element(values.begin(), values.end());
      float sum = 0;
      for (float &value : values) sum += value = std::exp(value - largest);
      for (int64_t i = 0; i < columns; ++i) Write(out, row * columns + i, values[i] / sum);
    }
  }, a, dimension, out);
}
LAUNCH(aclnnSoftmax)

aclError aclnnTopkGetWorkspaceSize(T a, int64_t k, int64_t dimension, bool largest, bool sorted, T values, T indices,
                                   WORKSPACE) {
  (void)sorted;
  return Prepare(workspace, executor, +[](T a, int64_t k, int64_t dimension, bool largest, T values, T indices) {
    const auto rank = static_cast<int64_t>(a->shape.size());
    Require((dimension == -1 || dimension == rank - 1) && largest, "TopK of the largest along the last dimension");
    const int64_t columns = a->shape.back(), rows = columns == 0 ? 0 : Count(a) / columns;
    for (int64_t row = 0; row < rows; ++row) {
      std::vector<int64_t> order(columns);
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(),
                       [&](int64_t x, int64_t y) { return Read(a, row * columns + x) > Read(a, row * columns + y); });
      for (int64_t i = 0; i < k; ++i) {
        Write(values, row * k + i, Read(a, row * columns + order[i]));
        Write(indices, row * k + i, static_cast<double>(order[i]));
      }
    }
  }, a, k, dimension, largest, values, indices);
}
LAUNCH(aclnnTopk)

aclError aclnnReduceSumGetWorkspaceSize(T a, const aclIntArray *dimensions, bool, aclDataType, T out, WORKSPACE) {
  return Prepare(workspace, executor, +[](T a, const aclIntArray *dimensions, T out) {
    const auto rank = static_cast<int64_t>(a->shape.size());
    std::vector<bool> reduced(rank, dimensions->values.empty());
    for (const int64_t dimension : dimensions->values) reduced[dimension < 0 ? dimension + rank : dimension] = true;
    std::vector<float> sums(Count(out), 0);
    for (int64_t i = 0; i < Count(a); ++i) {
      int64_t rest = i, place = 0, step = 1;
      for (int64_t d = rank - 1; d >= 0; --d) {
        if (!reduced[d]) {
          place += rest % a->shape[d] * step;
          step *= a->shape[d];
        }
        rest /= a->shape[d];
      }
      sums[place] += F(Read(a, i));
    }
    for (size_t i = 0; i < sums.size(); ++i) Write(out, static_cast<int64_t>(i), sums[i]);
  }, a, dimensions, out);
}
LAUNCH(aclnnReduceSum)

aclError aclnnMatmulGetWorkspaceSize(T a, T b, T y, int8_t, WORKSPACE) {
  return Prepare(workspace, executor, MatMul, a, b, y);
}
LAUNCH(aclnnMatmul)
aclError aclnnMmGetWorkspaceSize(T a, T b, T y, int8_t, WORKSPACE) {
  return Prepare(workspace, executor, MatMul, a, b, y);
}
LAUNCH(aclnnMm)

aclError aclnnGroupedMatmulV4GetWorkspaceSize(L x, L weight, L bias, L scale, L offset, L antiquant_scale,
                                              L antiquant_offset, L token_scale, T groups, L, L, L, int64_t split_item,
                                              int64_t group_type, int64_t list_type, int64_t activation, L y, L, L,
                                              WORKSPACE) {
  const auto at_most_one = [](L list) { return list == nullptr || list->tensors.size() <= 1; };
  if (x->tensors.size() != 1 || weight->tensors.size() != 1 || y->tensors.size() != 1 || !at_most_one(bias) ||
      !at_most_one(scale) || !at_most_one(token_scale) || Only(offset) != nullptr || Only(antiquant_scale) != nullptr ||
      Only(antiquant_offset) != nullptr || split_item != 3 || group_type != 0 || activation != 0) {
    return Fail(ACL_ERROR_INVALID_PARAM, "of aclnnGroupedMatmulV4 there is only: one tensor each, split item 3, groups "
                                         "along M, no activation");
  }
  return Prepare(workspace, executor, GroupedMatMul, Only(x), Only(weight), Only(bias), Only(scale), Only(token_scale),
                 groups, list_type, Only(y));
}
LAUNCH(aclnnGroupedMatmulV4)

}  // extern "C"
