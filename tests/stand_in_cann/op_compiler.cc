// libacl_op_compiler: operators by name (aclop), which CANN compiles when they are first used.
#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>
#include <stdexcept>

#include "acl/acl_op_compiler.h"
#include "stand_in.h"

// CANN's names for its opaque types.
struct aclTensorDesc {
  std::vector<int64_t> shape;
  aclDataType type;
  std::vector<uint8_t> constant;
};
struct aclDataBuffer {
  uint8_t *data;
  size_t bytes;
};
struct aclopAttr {
  std::map<std::string, int64_t> ints;
};

namespace {

struct Tensor {
  aclTensorDesc description;
  uint8_t *data;

  int64_t Count() const {
    int64_t count = 1;
    for (const int64_t size : description.shape) count *= size;
    return count;
  }
  size_t ElementBytes() const { return aclDataTypeSize(description.type); }
  const uint8_t *Data() const { return description.constant.empty() ? data : description.constant.data(); }
};
using Tensors = std::vector<Tensor>;

// Works along the last dimension. The other input, if there is one, names the dimension.
void Split(const Tensors &inputs, const Tensors &outputs) {
  for (const Tensor &input : inputs) {
    if (input.description.type != outputs[0].description.type) continue;
    const int64_t columns = input.description.shape.back();
    int64_t sum = 0;
    for (const Tensor &output : outputs) sum += output.description.shape.back();
    if (sum != columns) throw std::invalid_argument("Split only along the last dimension");
    const size_t bytes = input.ElementBytes();
    int64_t column = 0;
    for (const Tensor &output : outputs) {
      const int64_t width = output.description.shape.back();
      for (int64_t row = 0; row < input.Count() / columns; ++row) {
        std::memcpy(output.data + row * width * bytes, input.Data() + (row * columns + column) * bytes, width * bytes);
      }
      column += width;
    }
    return;
  }
  throw std::invalid_argument("Split without a tensor to split");
}

void Fill(const Tensors &inputs, const Tensors &outputs) {
  const size_t bytes = outputs[0].ElementBytes();
  for (int64_t i = 0; i < outputs[0].Count(); ++i) std::memcpy(outputs[0].data + i * bytes, inputs[1].Data(), bytes);
}

// The largest along the last dimension; of equal values the first comes first.
void TopK(const Tensors &inputs, const Tensors &outputs) {
  if (inputs[0].description.type != ACL_FLOAT || outputs[1].description.type != ACL_INT32) {
    throw std::invalid_argument("TopK only of float32, with int32 places");
  }
  const int64_t columns = inputs[0].description.shape.back(), k = outputs[0].description.shape.back();
  auto *const largest = reinterpret_cast<float *>(outputs[0].data);
  auto *const places = reinterpret_cast<int32_t *>(outputs[1].data);
  for (int64_t row = 0; row < outputs[0].Count() / k; ++row) {
    const auto *const values = reinterpret_cast<const float *>(inputs[0].Data()) + row * columns;
    std::vector<int32_t> order(columns);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [values](int32_t a, int32_t b) { return values[a] > values[b]; });
    for (int64_t i = 0; i < k; ++i) {
      largest[row * k + i] = values[order[i]];
      places[row * k + i] = order[i];
    }
  }
}

using Operator = void (*)(const Tensors &inputs, const Tensors &outputs);
const auto &kOperators = *new std::map<std::string, Operator>{{"Split", Split},   {"SplitD", Split}, {"SplitV", Split},
                                                              {"SplitVD", Split}, {"Fill", Fill},    {"TopK", TopK},
                                                              {"TopKV2", TopK}};

aclError Execute(const char *name, int input_num, const aclTensorDesc *const inputs[],
                 const aclDataBuffer *const input_data[], int output_num, const aclTensorDesc *const outputs[],
                 const aclDataBuffer *const output_data[], aclrtStream stream) {
  const auto found = kOperators.find(name);
  if (found == kOperators.end()) return stand_in::Fail(ACL_ERROR_OP_NOT_FOUND, "no operator %s for aclop", name);
  const auto gather = [](int count, const aclTensorDesc *const descriptions[], const aclDataBuffer *const data[]) {
    Tensors tensors;
    for (int i = 0; i < count; ++i) tensors.push_back({*descriptions[i], data[i] == nullptr ? nullptr : data[i]->data});
    return tensors;
  };
  stand_in::Say("aclop %s", name);
  stand_in::Enqueue(stream, found->first.c_str(),
                    [run = found->second, in = gather(input_num, inputs, input_data),
                     out = gather(output_num, outputs, output_data)] { run(in, out); });
  return ACL_SUCCESS;
}

}  // namespace

extern "C" {

aclTensorDesc *aclCreateTensorDesc(aclDataType type, int rank, const int64_t *shape, aclFormat) {
  return new aclTensorDesc{{shape, shape + rank}, type, {}};
}
void aclDestroyTensorDesc(const aclTensorDesc *description) { delete description; }
aclError aclSetTensorFormat(aclTensorDesc *, aclFormat) { return ACL_SUCCESS; }
aclError aclSetTensorShape(aclTensorDesc *, int, const int64_t *) { return ACL_SUCCESS; }  // storage shape: not used
aclError aclSetTensorPlaceMent(aclTensorDesc *, aclMemType) { return ACL_SUCCESS; }
aclError aclSetTensorConst(aclTensorDesc *description, void *data, size_t bytes) {
  const auto *const first = static_cast<uint8_t *>(data);
  description->constant.assign(first, first + bytes);
  return ACL_SUCCESS;
}
void aclSetTensorDescName(aclTensorDesc *, const char *) {}
size_t aclGetTensorDescNumDims(const aclTensorDesc *description) { return description->shape.size(); }
aclError aclGetTensorDescDimV2(const aclTensorDesc *description, size_t place, int64_t *size) {
  *size = description->shape[place];
  return ACL_SUCCESS;
}
size_t aclGetTensorDescSize(const aclTensorDesc *description) {
  size_t bytes = aclDataTypeSize(description->type);
  for (const int64_t size : description->shape) bytes *= size;
  return bytes;
}

aclDataBuffer *aclCreateDataBuffer(void *data, size_t bytes) {
  return new aclDataBuffer{static_cast<uint8_t *>(data), bytes};
}
aclError aclDestroyDataBuffer(const aclDataBuffer *buffer) {
  delete buffer;
  return ACL_SUCCESS;
}
aclError aclUpdateDataBuffer(aclDataBuffer *buffer, void *data, size_t bytes) {
  *buffer = {static_cast<uint8_t *>(data), bytes};
  return ACL_SUCCESS;
}
void *aclGetDataBufferAddr(const aclDataBuffer *buffer) { return buffer->data; }

aclopAttr *aclopCreateAttr() { return new aclopAttr; }
void aclopDestroyAttr(const aclopAttr *attributes) { delete attributes; }
aclError aclopSetAttrInt(aclopAttr *attributes, const char *name, int64_t value) {
  attributes->ints[name] = value;
  return ACL_SUCCESS;
}
aclError aclopSetAttrBool(aclopAttr *attributes, const char *name, uint8_t value) {
  return aclopSetAttrInt(attributes, name, value);
}

aclError aclopCompileAndExecute(const char *name, int input_num, const aclTensorDesc *const inputs[],
                                const aclDataBuffer *const input_data[], int output_num,
                                const aclTensorDesc *const outputs[], aclDataBuffer *const output_data[],
                                const aclopAttr *, aclopEngineType, aclopCompileType, const char *,
                                aclrtStream stream) {
  return Execute(name, input_num, inputs, input_data, output_num, outputs, output_data, stream);
}
aclError aclopCompileAndExecuteV2(const char *name, int input_num, aclTensorDesc *inputs[], aclDataBuffer *input_data[],
                                  int output_num, aclTensorDesc *outputs[], aclDataBuffer *output_data[], aclopAttr *,
                                  aclopEngineType, aclopCompileType, const char *, aclrtStream stream) {
  return Execute(name, input_num, inputs, input_data, output_num, outputs, output_data, stream);
}

}  // extern "C"
