// What the registrations for CPU (register_cpu.cc) and Ascend (register_ascend.cc) share: the translation of
// MindSpore's types and exceptions, and every operator as one object.
#ifndef MOE_COMM_MINDSPORE_FRAMEWORK_H
#define MOE_COMM_MINDSPORE_FRAMEWORK_H

#include <map>
#include <vector>

#include "host/operators.h"
#include "mindspore/include/custom_op_api.h"

namespace moe_comm {

using mindspore::TypeId;
using mindspore::kernel::KernelTensor;

inline const std::map<TypeId, DataType> &DataTypes() {
  static const std::map<TypeId, DataType> types = {
      {mindspore::kNumberTypeBool, DataType::kBool},        {mindspore::kNumberTypeInt8, DataType::kInt8},
      {mindspore::kNumberTypeInt32, DataType::kInt32},      {mindspore::kNumberTypeInt64, DataType::kInt64},
      {mindspore::kNumberTypeFloat32, DataType::kFloat32},  {mindspore::kNumberTypeFloat16, DataType::kFloat16},
      {mindspore::kNumberTypeBFloat16, DataType::kBfloat16}};
  return types;
}

inline TypeId ToTypeId(DataType dtype) {
  for (const auto &[id, type] : DataTypes()) {
    if (type == dtype) return id;
  }
  return mindspore::kTypeUnknown;
}

inline void SetTensor(TypeId id, const Shape &shape, Argument *argument) {
  const auto found = DataTypes().find(id);
  argument->given = true;
  argument->dtype = found == DataTypes().end() ? DataType::kOther : found->second;
  argument->dtype_name = argument->dtype == DataType::kOther ? mindspore::TypeIdToString(id) : Name(argument->dtype);
  argument->shape = shape;
}

inline bool OnNpu() {
  return mindspore::DeviceManagerConf::GetInstance()->device_type() == mindspore::device::DeviceType::kAscend;
}

// Turns errors in a graph into the exceptions that Python users of MindSpore expect.
template <typename Function>
auto Translated(Function &&function) {
  try {
    return function();
  } catch (const WrongType &error) {
    MS_EXCEPTION(mindspore::TypeError) << error.what();
  } catch (const std::invalid_argument &error) {
    MS_EXCEPTION(mindspore::ValueError) << error.what();
  } catch (const std::exception &error) {
    MS_EXCEPTION(mindspore::RuntimeError) << error.what();
  }
}

// A kernel's arguments in graph mode: shapes and scalars of the last Resize, addresses of each launch.
class GraphArguments {
 public:
  explicit GraphArguments(const Operator &op) : op_(op) {}

  void Resize(const std::vector<KernelTensor *> &inputs) {
    arguments_.assign(inputs.size(), Argument());
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (op_.is_scalar[i]) {
        arguments_[i].scalar = inputs[i]->GetValueWithCheck<int64_t>();
      } else if (inputs[i]->type_id() != mindspore::kMetaTypeNone) {
        SetTensor(inputs[i]->dtype_id(), inputs[i]->GetShapeVector(), &arguments_[i]);
      }
    }
    Translated([&] { op_.infer(arguments_); });  // every dimension is known now
  }

  void Launch(const std::vector<KernelTensor *> &inputs, const std::vector<KernelTensor *> &outputs, void *npu_stream) {
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (arguments_[i].given) arguments_[i].data = static_cast<uint8_t *>(inputs[i]->device_ptr());
    }
    std::vector<uint8_t *> addresses(outputs.size());
    for (size_t i = 0; i < outputs.size(); ++i) addresses[i] = static_cast<uint8_t *>(outputs[i]->device_ptr());
    Translated([&] { op_.Run(arguments_, addresses, npu_stream); });
  }

 private:
  const Operator &op_;
  Arguments arguments_;
};

}  // namespace moe_comm

#endif  // MOE_COMM_MINDSPORE_FRAMEWORK_H
