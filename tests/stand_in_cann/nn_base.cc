// libnnopbase: tensors and executors of aclnn.
#include <algorithm>
#include <cstring>

#include "host_twin/numerics.h"
#include "nn.h"

namespace stand_in {

int64_t Count(const Shape &shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}
int64_t Count(const aclTensor *tensor) { return Count(tensor->shape); }

namespace {

template <typename T>
T Load(const uint8_t *place) {
  T value;
  std::memcpy(&value, place, sizeof(T));
  return value;
}
template <typename T>
void Store(uint8_t *place, double value) {
  const T converted = static_cast<T>(value);
  std::memcpy(place, &converted, sizeof(T));
}
template <typename T>
void StoreFloat(uint8_t *place, double value) {
  const T converted = numerics::FromFloat<T>(static_cast<float>(value));
  std::memcpy(place, &converted, sizeof(T));
}

}  // namespace

double Get(const uint8_t *place, aclDataType type) {
  switch (type) {
    case ACL_FLOAT: return Load<float>(place);
    case ACL_DOUBLE: return Load<double>(place);
    case ACL_FLOAT16: return numerics::ToFloat(Load<half>(place));
    case ACL_BF16: return numerics::ToFloat(Load<bfloat16_t>(place));
    case ACL_INT8: return Load<int8_t>(place);
    case ACL_UINT8: return Load<uint8_t>(place);
    case ACL_BOOL: return Load<uint8_t>(place) != 0;
    case ACL_INT16: return Load<int16_t>(place);
    case ACL_INT32: return Load<int32_t>(place);
    case ACL_UINT32: return Load<uint32_t>(place);
    case ACL_INT64: return static_cast<double>(Load<int64_t>(place));
    default: Die("no data type %d in the operators", static_cast<int>(type));
  }
}
void Put(uint8_t *place, aclDataType type, double value) {
  switch (type) {
    case ACL_FLOAT: return Store<float>(place, value);
    case ACL_DOUBLE: return Store<double>(place, value);
    case ACL_FLOAT16: return StoreFloat<half>(place, value);
    case ACL_BF16: return StoreFloat<bfloat16_t>(place, value);
    case ACL_INT8: return Store<int8_t>(place, value);
    case ACL_UINT8: return Store<uint8_t>(place, value);
    case ACL_BOOL: return Store<uint8_t>(place, value != 0);
    case ACL_INT16: return Store<int16_t>(place, value);
    case ACL_INT32: return Store<int32_t>(place, value);
    case ACL_UINT32: return Store<uint32_t>(place, value);
    case ACL_INT64: return Store<int64_t>(place, value);
    default: Die("no data type %d in the operators", static_cast<int>(type));
  }
}

uint8_t *At(const aclTensor *tensor, const Shape &shape, int64_t index) {
  const size_t added = shape.size() - tensor->shape.size();  // dimensions that the broadcast adds
  int64_t element = tensor->offset;
  for (size_t i = shape.size(); i-- > 0;) {
    const int64_t place = index % shape[i];
    index /= shape[i];
    if (i >= added && tensor->shape[i - added] != 1) element += place * tensor->strides[i - added];
  }
  return tensor->data + element * static_cast<int64_t>(aclDataTypeSize(tensor->type));
}
double Read(const aclTensor *tensor, const Shape &shape, int64_t index) {
  return Get(At(tensor, shape, index), tensor->type);
}
double Read(const aclTensor *tensor, int64_t index) { return Read(tensor, tensor->shape, index); }
void Write(const aclTensor *tensor, int64_t index, double value) {
  Put(At(tensor, tensor->shape, index), tensor->type, value);
}
void ForEach(const aclTensor *target, const std::function<double(int64_t)> &value) {
  std::vector<double> values(Count(target));
  for (size_t i = 0; i < values.size(); ++i) values[i] = value(static_cast<int64_t>(i));
  for (size_t i = 0; i < values.size(); ++i) Write(target, static_cast<int64_t>(i), values[i]);
}
std::vector<float> Floats(const aclTensor *tensor) {
  std::vector<float> values(Count(tensor));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(Read(tensor, static_cast<int64_t>(i)));
  return values;
}

aclError Launch(const char *name, aclOpExecutor *executor, aclrtStream stream) {
  Say("%s", name);
  Enqueue(stream, name, executor->bind());
  if (!executor->repeatable) delete executor;
  return ACL_SUCCESS;
}

}  // namespace stand_in

extern "C" {

size_t aclDataTypeSize(aclDataType type) {
  switch (type) {
    case ACL_FLOAT:
    case ACL_INT32:
    case ACL_UINT32: return 4;
    case ACL_FLOAT16:
    case ACL_BF16:
    case ACL_INT16:
    case ACL_UINT16: return 2;
    case ACL_INT64:
    case ACL_UINT64:
    case ACL_DOUBLE:
    case ACL_COMPLEX64: return 8;
    case ACL_COMPLEX128: return 16;
    default: return 1;
  }
}

aclTensor *aclCreateTensor(const int64_t *shape, uint64_t rank, aclDataType type, const int64_t *strides,
                           int64_t offset, aclFormat format, const int64_t *, uint64_t, void *data) {
  auto *const tensor = new aclTensor{{shape, shape + rank}, {}, type, offset, format, static_cast<uint8_t *>(data)};
  if (strides != nullptr) {
    tensor->strides.assign(strides, strides + rank);
  } else {
    int64_t stride = 1;
    tensor->strides.resize(rank);
    for (uint64_t i = rank; i-- > 0; stride *= shape[i]) tensor->strides[i] = stride;
  }
  return tensor;
}
aclScalar *aclCreateScalar(void *value, aclDataType type) {
  return new aclScalar{stand_in::Get(static_cast<uint8_t *>(value), type)};
}
aclIntArray *aclCreateIntArray(const int64_t *values, uint64_t count) {
  return new aclIntArray{{values, values + count}};
}
aclFloatArray *aclCreateFloatArray(const float *values, uint64_t count) {
  return new aclFloatArray{{values, values + count}};
}
aclBoolArray *aclCreateBoolArray(const bool *values, uint64_t count) {
  return new aclBoolArray{std::vector<bool>(values, values + count)};
}
aclTensorList *aclCreateTensorList(aclTensor *const *tensors, uint64_t count) {
  return new aclTensorList{{tensors, tensors + count}};
}
aclScalarList *aclCreateScalarList(aclScalar *const *scalars, uint64_t count) {
  return new aclScalarList{{scalars, scalars + count}};
}

#define DESTROY(Type)                         \
  aclError aclDestroy##Type(acl##Type *old) { \
    delete old;                               \
    return ACL_SUCCESS;                       \
  }
DESTROY(Tensor)
DESTROY(Scalar)
DESTROY(IntArray)
DESTROY(FloatArray)
DESTROY(BoolArray)
#undef DESTROY
aclError aclDestroyTensorList(aclTensorList *list) {  // with its tensors
  for (aclTensor *tensor : list->tensors) delete tensor;
  delete list;
  return ACL_SUCCESS;
}
aclError aclDestroyScalarList(aclScalarList *list) {
  for (aclScalar *scalar : list->scalars) delete scalar;
  delete list;
  return ACL_SUCCESS;
}

aclError aclGetViewShape(const aclTensor *tensor, int64_t **shape, uint64_t *rank) {  // the caller deletes it
  *rank = tensor->shape.size();
  *shape = new int64_t[*rank];
  std::copy(tensor->shape.begin(), tensor->shape.end(), *shape);
  return ACL_SUCCESS;
}

// An executor that MindSpore keeps: it gets new addresses before each launch.
aclError aclSetAclOpExecutorRepeatable(aclOpExecutor *executor) {
  executor->repeatable = true;
  return ACL_SUCCESS;
}
aclError aclDestroyAclOpExecutor(aclOpExecutor *executor) {
  delete executor;
  return ACL_SUCCESS;
}
#define SET_ADDRESS(name)                                                          \
  aclError name(aclOpExecutor *, const size_t, aclTensor *tensor, void *address) { \
    tensor->data = static_cast<uint8_t *>(address);                                \
    return ACL_SUCCESS;                                                            \
  }
SET_ADDRESS(aclSetTensorAddr)
SET_ADDRESS(aclSetInputTensorAddr)
SET_ADDRESS(aclSetOutputTensorAddr)
#undef SET_ADDRESS
#define SET_ADDRESS_OF_ONE(name)                                                                         \
  aclError name(aclOpExecutor *, const size_t, const size_t place, aclTensorList *list, void *address) { \
    list->tensors[place]->data = static_cast<uint8_t *>(address);                                        \
    return ACL_SUCCESS;                                                                                  \
  }
SET_ADDRESS_OF_ONE(aclSetDynamicTensorAddr)
SET_ADDRESS_OF_ONE(aclSetDynamicInputTensorAddr)
SET_ADDRESS_OF_ONE(aclSetDynamicOutputTensorAddr)
#undef SET_ADDRESS_OF_ONE

// Memory that MindSpore lets aclnn reuse within one operator.
int InitHugeMemThreadLocal(void *, bool) { return 0; }
int UnInitHugeMemThreadLocal(void *, bool) { return 0; }
int ReleaseHugeMem(void *, bool) { return 0; }
aclError aclnnInit(const char *) { return ACL_SUCCESS; }
aclError aclnnFinalize() { return ACL_SUCCESS; }

}  // extern "C"
