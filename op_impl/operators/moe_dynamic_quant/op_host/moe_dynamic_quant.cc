// Quantises rows of activations to int8 on the CPU, as a quantised dispatch does.
#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "checks/checker.h"
#include "host/operators.h"
#include "host/visit_row_type.h"

namespace moe_comm {

namespace sig = signatures::moe_dynamic_quant;

namespace {

constexpr float kSmallest = 0x1p-119f;  // a row below counts as zero: 127 / kSmallest is still finite
constexpr float kSteps = 127.0f;

void Widen(const Argument &x, int64_t at, int64_t count, float *values) {
  VisitRowType(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *from = reinterpret_cast<const T *>(x.data) + at;
    if constexpr (std::is_same_v<T, float>) {
      std::copy_n(from, count, values);
    } else {
      numerics::Convert(values, from, static_cast<uint32_t>(count));
    }
  });
}

// Returns the row's scale.
float QuantiseRow(const std::vector<float> &values, int8_t *y) {
  uint32_t largest_bits = 0;  // as integers, NaN > infinity > finite
  for (const float value : values) largest_bits = std::max(largest_bits, numerics::Bits(value) & 0x7fffffffu);
  const float largest = numerics::FromBits(largest_bits);
  if (!std::isfinite(largest) || largest < kSmallest) {
    std::fill_n(y, values.size(), int8_t{0});
    return std::isfinite(largest) ? 0.0f : std::numeric_limits<float>::quiet_NaN();
  }
  const float factor = kSteps / largest;
  for (size_t i = 0; i < values.size(); ++i) y[i] = static_cast<int8_t>(std::nearbyint(values[i] * factor));
  return largest / kSteps;
}

}  // namespace

std::vector<Output> InferMoeDynamicQuant(const Arguments &in) {
  const Checker check(sig::kName, in, sig::kArgumentNames);
  check.Dtype(sig::x, RowTypes());
  check.Rank(sig::x, 2);
  if (in[sig::smooth_scales].given) {
    check.Dtype(sig::smooth_scales, {DataType::kFloat32});
    check.Rank(sig::smooth_scales, 1);
    check.Dimension(sig::smooth_scales, 0, in[sig::x].shape[1], "H");
  }
  return {{in[sig::x].shape, DataType::kInt8}, {{in[sig::x].shape[0]}, DataType::kFloat32}};
}

void LaunchMoeDynamicQuant(const Arguments &in, const std::vector<uint8_t *> &out, void *npu_stream) {
  if (npu_stream != nullptr) throw std::runtime_error("For 'moe_dynamic_quant', the device must be CPU, not Ascend.");
  const int64_t rows = in[sig::x].shape[0];
  const int64_t hidden = in[sig::x].shape[1];
  const float *smooth = reinterpret_cast<const float *>(in[sig::smooth_scales].data);
  std::vector<float> values(hidden);
  for (int64_t row = 0; row < rows; ++row) {
    Widen(in[sig::x], row * hidden, hidden, values.data());
    for (int64_t i = 0; smooth != nullptr && i < hidden; ++i) values[i] *= smooth[i];
    int8_t *y = reinterpret_cast<int8_t *>(out[sig::out_y]) + row * hidden;
    reinterpret_cast<float *>(out[sig::out_scale])[row] = QuantiseRow(values, y);
  }
}

}  // namespace moe_comm
