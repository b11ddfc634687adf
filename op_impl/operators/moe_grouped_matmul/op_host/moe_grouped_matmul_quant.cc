// The grouped matmul of int8 rows and int8 weights, into a new tensor and into `out`. These launches serve the CPU
// alone: for an NPU, grouped_matmul_ascend.cc registers CANN's own GroupedMatmul.
#include <algorithm>
#include <numeric>

#include "checks/checker.h"
#include "contract/dtype.h"
#include "host/operators.h"
#include "operators/moe_grouped_matmul/op_host/group_list.h"
#include "operators/moe_grouped_matmul/op_host/grouped_matmul_int8_cpu.h"

namespace moe_comm {

namespace fresh = signatures::moe_grouped_matmul_quant;
namespace in_place = signatures::moe_grouped_matmul_quant_out;

namespace {

// Both operators have the same first arguments.
static_assert(size_t(fresh::x) == size_t(in_place::x) && size_t(fresh::weight) == size_t(in_place::weight) &&
              size_t(fresh::group_list) == size_t(in_place::group_list) &&
              size_t(fresh::scale) == size_t(in_place::scale) &&
              size_t(fresh::per_token_scale) == size_t(in_place::per_token_scale));

constexpr int64_t kRowAlignment = 32;  // quantised rows of dispatch have whole blocks of 32 bytes, zeros past H

Shape InferY(const Checker &check, size_t bias, size_t type) {
  check.Dtype(fresh::x, {DataType::kInt8});
  check.Dtype(fresh::weight, {DataType::kInt8});
  check.Dtype(fresh::group_list, {DataType::kInt64});
  check.Dtype(fresh::scale, {DataType::kFloat32, DataType::kBfloat16});
  check.Dtype(fresh::per_token_scale, {DataType::kFloat32});
  check.Rank(fresh::x, 2);
  check.Rank(fresh::weight, 3);
  check.Rank(fresh::group_list, 1);
  check.Rank(fresh::scale, 2);
  check.Rank(fresh::per_token_scale, 1);
  const Shape &x = check[fresh::x].shape;
  const Shape &weight = check[fresh::weight].shape;
  const int64_t inner = weight[1];
  const int64_t padded = (inner + kRowAlignment - 1) / kRowAlignment * kRowAlignment;
  if (inner != kUnknown && x[1] != kUnknown && x[1] != inner && x[1] != padded) {
    check.Fail("dimension 1 of 'x' must be K = " + std::to_string(inner) + ", dimension 1 of 'weight'" +
               (padded == inner ? "" : ", or K rounded up to 32 = " + std::to_string(padded)) + ", but its shape is " +
               ToString(x) + ".");
  }
  if (inner > kMaxInt8Inner) {
    check.Fail("K, dimension 1 of 'weight', must be at most " + std::to_string(kMaxInt8Inner) +
               ", for which int32 holds every sum of int8 products, but got " + std::to_string(inner) +
               ". Split K over several matmuls.");
  }
  check.Dimension(fresh::group_list, 0, weight[0], "the number of groups of 'weight'");
  check.Dimension(fresh::scale, 0, weight[0], "the number of groups of 'weight'");
  check.Dimension(fresh::scale, 1, weight[2], "the columns of 'weight'");
  check.Dimension(fresh::per_token_scale, 0, x[0], "the number of rows of 'x'");
  if (check[bias].given) {
    check.Dtype(bias, {DataType::kInt32});
    check.Rank(bias, 2);
    check.Dimension(bias, 0, weight[0], "the number of groups of 'weight'");
    check.Dimension(bias, 1, weight[2], "the columns of 'weight'");
  }
  check.ScalarOneOf(type, {0, 1});
  return {x[0], weight[2]};
}

void CheckResultType(const Checker &check, DataType y) {
  const DataType scale = check[fresh::scale].dtype;
  const bool float_y = std::count(RowTypes().begin(), RowTypes().end(), y) > 0;
  if (float_y && (scale == DataType::kFloat32 || y == DataType::kBfloat16)) return;
  check.FailType("a 'scale' of " + check[fresh::scale].dtype_name + " gives a result of " +
                 (scale == DataType::kFloat32 ? "float32, float16 or bfloat16" : "bfloat16") + ", but " + Name(y) +
                 " is asked for.");
}

void Run(const char *op, const Arguments &in, size_t bias, size_t type, DataType y_dtype, uint8_t *y) {
  const Shape &weight = in[fresh::weight].shape;
  GroupedMatmulInt8 p;
  p.x = reinterpret_cast<const int8_t *>(in[fresh::x].data);
  p.x_columns = in[fresh::x].shape[1];
  p.weight = reinterpret_cast<const int8_t *>(in[fresh::weight].data);
  p.group_ends = GroupEnds(op, reinterpret_cast<const int64_t *>(in[fresh::group_list].data), weight[0],
                           in[fresh::x].shape[0], in[type].scalar == 0);
  p.scale = in[fresh::scale].data;
  p.scale_dtype = in[fresh::scale].dtype;
  p.per_token_scale = reinterpret_cast<const float *>(in[fresh::per_token_scale].data);
  p.bias = reinterpret_cast<const int32_t *>(in[bias].data);
  p.y = y;
  p.y_dtype = y_dtype;
  p.inner = weight[1];
  p.columns = weight[2];
  RunGroupedMatmulInt8(p);
}

}  // namespace

std::vector<Output> InferMoeGroupedMatmulQuant(const Arguments &in) {
  const Checker check(fresh::kName, in, fresh::kArgumentNames);
  const Shape y = InferY(check, fresh::bias, fresh::group_list_type);
  std::vector<int64_t> codes(kDtypeCount);
  std::iota(codes.begin(), codes.end(), 0);
  check.ScalarOneOf(fresh::output_dtype, codes);
  const DataType dtype = RowType(in[fresh::output_dtype].scalar);
  CheckResultType(check, dtype);
  return {{y, dtype}};
}

void LaunchMoeGroupedMatmulQuant(const Arguments &in, const std::vector<uint8_t *> &out, void *) {
  const DataType dtype = RowType(in[fresh::output_dtype].scalar);
  Run(fresh::kName, in, fresh::bias, fresh::group_list_type, dtype, out[fresh::out_y]);
}

std::vector<Output> InferMoeGroupedMatmulQuantOut(const Arguments &in) {
  const Checker check(in_place::kName, in, in_place::kArgumentNames);
  const Shape y = InferY(check, in_place::bias, in_place::group_list_type);
  check.Rank(in_place::out, 2);
  check.Dimension(in_place::out, 0, y[0], "the number of rows of 'x'");
  check.Dimension(in_place::out, 1, y[1], "the columns of 'weight'");
  CheckResultType(check, in[in_place::out].dtype);
  return {{in[in_place::out].shape, in[in_place::out].dtype}};
}

void LaunchMoeGroupedMatmulQuantOut(const Arguments &in, const std::vector<uint8_t *> &, void *) {
  Run(in_place::kName, in, in_place::bias, in_place::group_list_type, in[in_place::out].dtype, in[in_place::out].data);
}

}  // namespace moe_comm
