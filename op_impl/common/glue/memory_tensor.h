// Memory that somebody else owns, as a DLPack capsule, from which MindSpore makes a Tensor without a copy.
#ifndef MOE_COMM_GLUE_MEMORY_TENSOR_H
#define MOE_COMM_GLUE_MEMORY_TENSOR_H

#include <cstdint>
#include <vector>

#include "pybind11/pybind11.h"

namespace moe_comm {

// The structures of DLPack 0.8 (github.com/dmlc/dlpack), whose layout is a binary interface.
struct DlpackTensor {
  void *data;
  int32_t device_type;  // 1 CPU; 12 an extension's device, as which MindSpore takes Ascend
  int32_t device_id;
  int32_t ndim;
  uint8_t code;  // 0 int, 1 unsigned, 2 float, 4 bfloat16
  uint8_t bits;
  uint16_t lanes;
  int64_t *shape;
  int64_t *strides;  // in elements
  uint64_t byte_offset;
};
struct DlpackManaged {
  DlpackTensor tensor;
  void *context;
  void (*deleter)(DlpackManaged *);
  std::vector<int64_t> shape;  // beyond the interface: where the pointers point to
  std::vector<int64_t> strides;
};

// The memory must outlive every tensor made of it; the caller sees to that.
inline pybind11::capsule MemoryTensor(uint64_t address, int32_t device_type, int32_t device_id, uint8_t code,
                                      uint8_t bits, const std::vector<int64_t> &shape) {
  auto *managed = new DlpackManaged();
  managed->shape = shape;
  managed->strides.assign(shape.size(), 1);
  for (size_t i = shape.size(); i > 1; --i) managed->strides[i - 2] = managed->strides[i - 1] * shape[i - 1];
  managed->tensor = {reinterpret_cast<void *>(address), device_type, device_id, static_cast<int32_t>(shape.size()),
                     code, bits, 1, managed->shape.data(), managed->strides.data(), 0};
  managed->deleter = [](DlpackManaged *self) { delete self; };
  return pybind11::capsule(managed, "dltensor");
}

}  // namespace moe_comm

#endif  // MOE_COMM_GLUE_MEMORY_TENSOR_H
