#include "host/operator.h"

#include <algorithm>

#include "host/standard_arithmetic.h"

namespace moe_comm {

const char *Name(DataType dtype) {
  static const char *const names[] = {"another dtype",
                                      "bool",
                                      "int8",
                                      "int32",
                                      "int64",
#define MOE_COMM_DTYPE(constant, code, type, bytes, name) name,
                                      MOE_COMM_DTYPES(MOE_COMM_DTYPE)
#undef MOE_COMM_DTYPE
  };
  return names[static_cast<size_t>(dtype)];
}

size_t ElementBytes(DataType dtype) {
  static const size_t sizes[] = {0,
                                 1,
                                 1,
                                 4,
                                 8,
#define MOE_COMM_DTYPE(constant, code, type, bytes, name) bytes,
                                 MOE_COMM_DTYPES(MOE_COMM_DTYPE)
#undef MOE_COMM_DTYPE
  };
  return sizes[static_cast<size_t>(dtype)];
}

DataType RowType(uint64_t dtype) {
  switch (dtype) {
#define MOE_COMM_DTYPE(constant, code, type, bytes, name) \
  case code: return DataType::constant;
    MOE_COMM_DTYPES(MOE_COMM_DTYPE)
#undef MOE_COMM_DTYPE
    default: return DataType::kOther;
  }
}

const std::vector<DataType> &RowTypes() {
  static const std::vector<DataType> types = {
#define MOE_COMM_DTYPE(constant, code, type, bytes, name) DataType::constant,
      MOE_COMM_DTYPES(MOE_COMM_DTYPE)
#undef MOE_COMM_DTYPE
  };
  return types;
}

std::string ToString(const Shape &shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

uint64_t Argument::Bytes() const {
  uint64_t bytes = ElementBytes(dtype);
  for (const int64_t dimension : shape) bytes *= static_cast<uint64_t>(dimension);
  return bytes;
}

bool Argument::Overlaps(const uint8_t *memory, uint64_t bytes) const {
  const uint64_t own = data == nullptr ? 0 : Bytes();
  return own > 0 && data < memory + bytes && memory < data + own;
}

bool Operator::WritesInto(size_t argument) const {
  return std::find(in_place, in_place + outputs, static_cast<int>(argument)) != in_place + outputs;
}

namespace {

// An operator reads its arguments while it writes its results, so the two must not overlap.
void CheckMemory(const Operator &op, const Arguments &arguments) {
  for (size_t written = 0; written < arguments.size(); ++written) {
    if (!arguments[written].given || !op.WritesInto(written)) continue;
    const uint64_t bytes = arguments[written].Bytes();
    for (size_t read = 0; read < arguments.size(); ++read) {
      if (read == written || !arguments[read].Overlaps(arguments[written].data, bytes)) continue;
      throw std::invalid_argument("For '" + std::string(op.name) + "', '" + op.argument_names[read] +
                                  "' lies in the memory of '" + op.argument_names[written] +
                                  "', which the operator writes. Pass a copy of it.");
    }
  }
}

}  // namespace

void Operator::Run(const Arguments &arguments, const std::vector<uint8_t *> &outputs, void *npu_stream) const {
  const StandardArithmetic standard;
  CheckMemory(*this, arguments);
  launch(arguments, outputs, npu_stream);
}

}  // namespace moe_comm
