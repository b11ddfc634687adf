// Memory that somebody else owns, as a MindSpore Tensor. (A DLPack capsule makes one, too, but with a storage
// description. MindSpore copies such a tensor on machines with few threads, and sizes it one row too long.)
#ifndef MOE_COMM_MINDSPORE_MEMORY_TENSOR_H
#define MOE_COMM_MINDSPORE_MEMORY_TENSOR_H

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>

#include "mindspore/framework.h"

namespace moe_comm {

// The memory must outlive every tensor made of it; the caller sees to that.
// `dtype`: by its name, such as "float32".
inline ms::Tensor MemoryTensor(uint64_t address, bool on_npu, const std::string &dtype, const Shape &shape) {
  using mindspore::device::DeviceAddress;
  using mindspore::device::DeviceType;
  const auto named = [&dtype](const auto &type) { return Name(type.second) == dtype; };
  const auto type = std::find_if(DataTypes().begin(), DataTypes().end(), named);
  if (type == DataTypes().end()) throw std::invalid_argument("no tensor of memory has the dtype " + dtype);
  auto tensor = std::make_shared<mindspore::tensor::Tensor>(type->first, shape, nullptr);
  const auto memory = std::make_shared<DeviceAddress>(reinterpret_cast<void *>(address), tensor->Size(),
                                                      on_npu ? DeviceType::kAscend : DeviceType::kCPU);
  tensor->set_device_address(memory);
  return ms::Tensor(tensor);
}

}  // namespace moe_comm

#endif  // MOE_COMM_MINDSPORE_MEMORY_TENSOR_H
