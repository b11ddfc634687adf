// aclnn: the arguments of its operators, and how an operator is prepared and queued.
#ifndef STAND_IN_CANN_NN_H
#define STAND_IN_CANN_NN_H

#include <optional>
#include <tuple>
#include <utility>

#include "stand_in.h"

// CANN's names for its opaque types.
struct aclTensor {
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;
  aclDataType type;
  int64_t offset;  // in elements, like the strides
  aclFormat format;
  uint8_t *data;
};
struct aclScalar {
  double value;
};
struct aclIntArray {
  std::vector<int64_t> values;
};
struct aclFloatArray {
  std::vector<float> values;
};
struct aclBoolArray {
  std::vector<bool> values;
};
struct aclTensorList {
  std::vector<aclTensor *> tensors;
};
struct aclScalarList {
  std::vector<aclScalar *> scalars;
};
struct aclOpExecutor {
  std::function<stand_in::Task()> bind;  // makes the task from the tensors as they are at the launch
  bool repeatable = false;
};

namespace stand_in {

using Shape = std::vector<int64_t>;
int64_t Count(const Shape &shape);
int64_t Count(const aclTensor *tensor);
double Get(const uint8_t *place, aclDataType type);
void Put(uint8_t *place, aclDataType type, double value);
// Element number `index`, in row-major order of `shape`, of a tensor that is broadcast to this shape.
uint8_t *At(const aclTensor *tensor, const Shape &shape, int64_t index);
double Read(const aclTensor *tensor, const Shape &shape, int64_t index);
double Read(const aclTensor *tensor, int64_t index);
void Write(const aclTensor *tensor, int64_t index, double value);
// target[i] = value(i) for all elements. For operators in place it computes all values before it writes one.
void ForEach(const aclTensor *target, const std::function<double(int64_t)> &value);
std::vector<float> Floats(const aclTensor *tensor);

// A task's copy of an argument: the host may destroy or change its own after the call has returned.
template <typename T>
struct Kept {
  T value;
  explicit Kept(T argument) : value(argument) {}
  T View() { return value; }
};
template <typename T>
struct Kept<const T *> {
  std::optional<T> value;
  explicit Kept(const T *argument) {
    if (argument != nullptr) value = *argument;
  }
  const T *View() { return value ? &*value : nullptr; }
};
template <>
struct Kept<const aclTensorList *> {
  std::vector<aclTensor> tensors;
  aclTensorList value;
  bool given;
  explicit Kept(const aclTensorList *argument) : given(argument != nullptr) {
    for (const aclTensor *tensor : given ? argument->tensors : std::vector<aclTensor *>()) tensors.push_back(*tensor);
  }
  const aclTensorList *View() {
    value.tensors.clear();
    for (aclTensor &tensor : tensors) value.tensors.push_back(&tensor);
    return given ? &value : nullptr;
  }
};

// The first call of an operator: `compute` will run with these arguments.
template <typename... Arguments>
aclError Prepare(uint64_t *workspace, aclOpExecutor **executor, void (*compute)(Arguments...), Arguments... arguments) {
  *workspace = 0;
  *executor = new aclOpExecutor{[=]() -> Task {
    return [compute, kept = std::make_tuple(Kept<Arguments>(arguments)...)]() mutable {
      std::apply([&](auto &...argument) { compute(argument.View()...); }, kept);
    };
  }};
  return ACL_SUCCESS;
}
// The second call of an operator, which queues it.
aclError Launch(const char *name, aclOpExecutor *executor, aclrtStream stream);

}  // namespace stand_in

#define LAUNCH(operator_name)                                                             \
  aclError operator_name(void *, uint64_t, aclOpExecutor *executor, aclrtStream stream) { \
    return stand_in::Launch(#operator_name, executor, stream);                            \
  }

#endif  // STAND_IN_CANN_NN_H
