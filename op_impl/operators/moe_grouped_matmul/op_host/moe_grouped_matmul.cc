// Two operators, one matmul: the framework must know when the graph is built whether y is new or lies in `out`.
// These launches serve the CPU alone: for an NPU, grouped_matmul_ascend.cc registers CANN's own GroupedMatmul.
#include "checks/checker.h"
#include "host/operators.h"
#include "operators/moe_grouped_matmul/op_host/group_list.h"
#include "operators/moe_grouped_matmul/op_host/grouped_matmul_cpu.h"

namespace moe_comm {

namespace fresh = signatures::moe_grouped_matmul;
namespace in_place = signatures::moe_grouped_matmul_out;

namespace {

// Both operators have the same first arguments.
static_assert(size_t(fresh::x) == size_t(in_place::x) && size_t(fresh::weight) == size_t(in_place::weight) &&
              size_t(fresh::group_list) == size_t(in_place::group_list));

Output InferY(const char *op, const char *const *names, size_t type, const Arguments &in) {
  const Checker check(op, in, names);
  check.Dtype(fresh::x, RowTypes());
  check.SameDtype(fresh::x, fresh::weight);
  check.Dtype(fresh::group_list, {DataType::kInt64});
  check.Rank(fresh::x, 2);
  check.Rank(fresh::weight, 3);
  check.Rank(fresh::group_list, 1);
  check.Dimension(fresh::weight, 1, in[fresh::x].shape[1], "the inner dimension of 'x'");
  check.Dimension(fresh::group_list, 0, in[fresh::weight].shape[0], "the number of groups of 'weight'");
  check.ScalarOneOf(type, {0, 1});
  return {{in[fresh::x].shape[0], in[fresh::weight].shape[2]}, in[fresh::x].dtype};
}

void Run(const char *op, const Arguments &in, size_t type, uint8_t *y) {
  const Shape &weight = in[fresh::weight].shape;
  GroupedMatmul p;
  p.x = in[fresh::x].data;
  p.weight = in[fresh::weight].data;
  p.group_ends = GroupEnds(op, reinterpret_cast<const int64_t *>(in[fresh::group_list].data), weight[0],
                           in[fresh::x].shape[0], in[type].scalar == 0);
  p.y = y;
  p.inner = weight[1];
  p.columns = weight[2];
  p.dtype = in[fresh::x].dtype;
  RunGroupedMatmul(p);
}

}  // namespace

std::vector<Output> InferMoeGroupedMatmul(const Arguments &in) {
  return {InferY(fresh::kName, fresh::kArgumentNames, fresh::group_list_type, in)};
}

void LaunchMoeGroupedMatmul(const Arguments &in, const std::vector<uint8_t *> &out, void *) {
  Run(fresh::kName, in, fresh::group_list_type, out[fresh::out_y]);
}

std::vector<Output> InferMoeGroupedMatmulOut(const Arguments &in) {
  const Output y = InferY(in_place::kName, in_place::kArgumentNames, in_place::group_list_type, in);
  const Checker check(in_place::kName, in, in_place::kArgumentNames);
  check.SameDtype(in_place::out, in_place::x);
  check.Rank(in_place::out, 2);
  check.Dimension(in_place::out, 0, y.shape[0], "the number of rows of 'x'");
  check.Dimension(in_place::out, 1, y.shape[1], "the columns of 'weight'");
  return {{in[in_place::out].shape, y.dtype}};
}

void LaunchMoeGroupedMatmulOut(const Arguments &in, const std::vector<uint8_t *> &, void *) {
  Run(in_place::kName, in, in_place::group_list_type, in[in_place::out].data);
}

}  // namespace moe_comm
