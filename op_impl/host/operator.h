// How an operator presents itself to a framework: shapes and types from arguments, and a launch. No MindSpore in here:
// op_impl/mindspore adapts every operator to it.
#ifndef MOE_COMM_HOST_OPERATOR_H
#define MOE_COMM_HOST_OPERATOR_H

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "contract/dtype.h"

namespace moe_comm {

// Rows have the dtypes of the table in contract/dtype.h.
enum class DataType {
  kOther,
  kBool,
  kInt8,
  kInt32,
  kInt64,
#define MOE_COMM_DTYPE(constant, code, type, bytes, name) constant,
  MOE_COMM_DTYPES(MOE_COMM_DTYPE)
#undef MOE_COMM_DTYPE
};

const char *Name(DataType dtype);
size_t ElementBytes(DataType dtype);

// The dtype with this code in the table; kOther if there is none.
DataType RowType(uint64_t dtype);
const std::vector<DataType> &RowTypes();

using Shape = std::vector<int64_t>;
constexpr int64_t kUnknown = -1;  // a dimension that the graph does not know yet
std::string ToString(const Shape &shape);

struct Argument {
  bool given = false;  // false: the optional tensor is None
  DataType dtype = DataType::kOther;
  std::string dtype_name;
  Shape shape;
  int64_t scalar = 0;       // the value of an int argument
  uint8_t *data = nullptr;  // at launch

  uint64_t Bytes() const;  // at launch: the size of a contiguous tensor
  bool Overlaps(const uint8_t *memory, uint64_t bytes) const;
};
using Arguments = std::vector<Argument>;

struct Output {
  Shape shape;
  DataType dtype;
};

// Raised to the user as TypeError; std::invalid_argument becomes ValueError, std::runtime_error RuntimeError.
struct WrongType : std::runtime_error {
  using std::runtime_error::runtime_error;
};

using Infer = std::vector<Output> (*)(const Arguments &);
// `npu_stream`: where the launch is queued; nullptr for the CPU, where it has ended when the call returns.
using Launch = void (*)(const Arguments &, const std::vector<uint8_t *> &outputs, void *npu_stream);

// What the generated signatures say of an operator, and its two entry points.
struct Operator {
  const char *name;
  Infer infer;
  Launch launch;
  size_t arguments;
  const char *const *argument_names;
  const bool *is_scalar;    // per argument
  const bool *is_optional;  // per argument: may be None
  size_t outputs;
  const int *in_place;  // per output: the argument that it lies in, or -1
  bool has_window;      // whether an argument is a window's control tensor

  // Launches, in standard arithmetic. Throws WrongType, std::invalid_argument or std::runtime_error.
  void Run(const Arguments &arguments, const std::vector<uint8_t *> &outputs, void *npu_stream) const;
  bool WritesInto(size_t argument) const;
};

}  // namespace moe_comm

#endif  // MOE_COMM_HOST_OPERATOR_H
