// half and bfloat16_t for the host, and the vector arithmetic of the twin.
//
// Loops are plain and compiled once per instruction set (Run below picks at run time); every operation rounds by
// itself (the kernels are built with -ffp-contract=off), so all of them give the same bits.
#ifndef MOE_COMM_HOST_TWIN_NUMERICS_H
#define MOE_COMM_HOST_TWIN_NUMERICS_H

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#define MOE_COMM_WIDE __attribute__((target("avx2,f16c")))
#endif

struct half {
  uint16_t bits;
};
struct bfloat16_t {
  uint16_t bits;
};

namespace numerics {

inline uint32_t Bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}
inline float FromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

inline float ToFloat(bfloat16_t value) { return FromBits(static_cast<uint32_t>(value.bits) << 16); }

inline bfloat16_t ToBfloat16(float value) {
  const uint32_t bits = Bits(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;  // half to even
  const uint32_t quiet = (bits >> 16) | 0x40u;                            // a NaN stays a NaN
  return {static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded)};
}

inline float ToFloat(half value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000u) << 16;
  const uint32_t magnitude = value.bits & 0x7fffu;
  if (magnitude >= 0x7c00u) return FromBits(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);  // inf, NaN
  // shift into place and let one exact multiplication fix the exponent: denormals come out right too
  return FromBits(sign | Bits(FromBits(magnitude << 13) * FromBits(0x77800000u)));
}

inline half ToHalf(float value) {
  const uint32_t bits = Bits(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {static_cast<uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu))};
  if (magnitude >= 0x47800000u) return {static_cast<uint16_t>(sign | 0x7c00u)};  // 65536 and more
  if (magnitude < 0x38800000u) {  // below 2^-14: adding 0.5 rounds to a multiple of 2^-24, half to even
    const uint32_t aligned = Bits(FromBits(magnitude) + 0.5f) - Bits(0.5f);
    return {static_cast<uint16_t>(sign | aligned)};
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u;
  return {static_cast<uint16_t>(sign | (rounded >> 13))};  // a carry into 2^16 gives infinity
}

template <typename To>
To FromFloat(float value);
template <>
inline half FromFloat<half>(float value) {
  return ToHalf(value);
}
template <>
inline bfloat16_t FromFloat<bfloat16_t>(float value) {
  return ToBfloat16(value);
}

// --- loops ---

#define MOE_COMM_ADD \
  for (int32_t i = 0; i < count; ++i) target[i] = a[i] + b[i]
#define MOE_COMM_SCALE \
  for (int32_t i = 0; i < count; ++i) target[i] = a[i] * factor
#define MOE_COMM_MULTIPLY \
  for (int32_t i = 0; i < count; ++i) target[i] = a[i] * b[i]
#define MOE_COMM_MAX \
  for (int32_t i = 0; i < count; ++i) target[i] = a[i] > b[i] ? a[i] : b[i]
#define MOE_COMM_SHIFT_LEFT \
  for (int32_t i = 0; i < count; ++i) target[i] = a[i] << bits
#define MOE_COMM_SHIFT_RIGHT \
  for (int32_t i = 0; i < count; ++i) target[i] = a[i] >> bits
#define MOE_COMM_RINT \
  for (uint32_t i = 0; i < count; ++i) target[i] = std::nearbyint(source[i])
#define MOE_COMM_TO_INT8 \
  for (uint32_t i = 0; i < count; ++i) target[i] = ToInt8(ToFloat(source[i]))
#define MOE_COMM_WIDEN \
  for (uint32_t i = 0; i < count; ++i) target[i] = ToFloat(source[i])
#define MOE_COMM_NARROW \
  for (uint32_t i = 0; i < count; ++i) target[i] = FromFloat<T>(source[i])

#if defined(__x86_64__)
inline bool HasWide() {
  static const bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c");
  return has;
}
template <typename T>
MOE_COMM_WIDE void AddWide(T *target, const T *a, const T *b, int32_t count) {
  MOE_COMM_ADD;
}
MOE_COMM_WIDE inline void ScaleWide(float *target, const float *a, float factor, int32_t count) { MOE_COMM_SCALE; }
MOE_COMM_WIDE inline void MultiplyWide(float *target, const float *a, const float *b, int32_t count) {
  MOE_COMM_MULTIPLY;
}
MOE_COMM_WIDE inline void MaxWide(int32_t *target, const int32_t *a, const int32_t *b, int32_t count) { MOE_COMM_MAX; }
MOE_COMM_WIDE inline void ShiftLeftWide(uint32_t *target, const uint32_t *a, uint32_t bits, int32_t count) {
  MOE_COMM_SHIFT_LEFT;
}
MOE_COMM_WIDE inline void ShiftRightWide(uint32_t *target, const uint32_t *a, uint32_t bits, int32_t count) {
  MOE_COMM_SHIFT_RIGHT;
}
MOE_COMM_WIDE inline void RintWide(float *target, const float *source, uint32_t count) { MOE_COMM_RINT; }
template <typename T>
MOE_COMM_WIDE void ConvertWide(float *target, const T *source, uint32_t count) {
  MOE_COMM_WIDEN;
}
template <typename T>
MOE_COMM_WIDE void ConvertWide(T *target, const float *source, uint32_t count) {
  MOE_COMM_NARROW;
}
MOE_COMM_WIDE inline void ConvertWide(float *target, const half *source, uint32_t count) {
  for (; count >= 8; count -= 8, target += 8, source += 8) {
    _mm256_storeu_ps(target, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(source))));
  }
  MOE_COMM_WIDEN;
}
MOE_COMM_WIDE inline void ConvertWide(half *target, const float *source, uint32_t count) {
  using T = half;
  for (; count >= 8; count -= 8, target += 8, source += 8) {
    _mm_storeu_si128(reinterpret_cast<__m128i *>(target),
                     _mm256_cvtps_ph(_mm256_loadu_ps(source), _MM_FROUND_TO_NEAREST_INT));
  }
  MOE_COMM_NARROW;
}
#define MOE_COMM_RUN_WIDE(call) \
  if (HasWide()) return call
#else
#define MOE_COMM_RUN_WIDE(call)
#endif

template <typename T>
void Add(T *target, const T *a, const T *b, int32_t count) {
  MOE_COMM_RUN_WIDE(AddWide(target, a, b, count));
  MOE_COMM_ADD;
}
inline void Exp(float *target, const float *source, int32_t count) {
  for (int32_t i = 0; i < count; ++i) target[i] = std::exp(source[i]);
}
inline void Scale(float *target, const float *a, float factor, int32_t count) {
  MOE_COMM_RUN_WIDE(ScaleWide(target, a, factor, count));
  MOE_COMM_SCALE;
}
inline void Multiply(float *target, const float *a, const float *b, int32_t count) {
  MOE_COMM_RUN_WIDE(MultiplyWide(target, a, b, count));
  MOE_COMM_MULTIPLY;
}
inline void Max(int32_t *target, const int32_t *a, const int32_t *b, int32_t count) {
  MOE_COMM_RUN_WIDE(MaxWide(target, a, b, count));
  MOE_COMM_MAX;
}
inline void ShiftLeft(uint32_t *target, const uint32_t *a, uint32_t bits, int32_t count) {
  MOE_COMM_RUN_WIDE(ShiftLeftWide(target, a, bits, count));
  MOE_COMM_SHIFT_LEFT;
}
inline void ShiftRight(uint32_t *target, const uint32_t *a, uint32_t bits, int32_t count) {
  MOE_COMM_RUN_WIDE(ShiftRightWide(target, a, bits, count));
  MOE_COMM_SHIFT_RIGHT;
}
inline void Convert(float *target, const float *source, uint32_t count) {
  MOE_COMM_RUN_WIDE(RintWide(target, source, count));
  MOE_COMM_RINT;
}
// As the vector unit does: a NaN becomes 0, and a value that is too large becomes the largest.
inline int8_t ToInt8(float value) {
  if (std::isnan(value)) return 0;
  return static_cast<int8_t>(std::fmin(127.0f, std::fmax(-128.0f, std::nearbyint(value))));
}
inline void Convert(int8_t *target, const half *source, uint32_t count) { MOE_COMM_TO_INT8; }
template <typename T>
void Convert(float *target, const T *source, uint32_t count) {
  MOE_COMM_RUN_WIDE(ConvertWide(target, source, count));
  MOE_COMM_WIDEN;
}
template <typename T>
void Convert(T *target, const float *source, uint32_t count) {
  MOE_COMM_RUN_WIDE(ConvertWide(target, source, count));
  MOE_COMM_NARROW;
}
template <typename T>
void Fill(T *target, T value, int32_t count) {
  for (int32_t i = 0; i < count; ++i) target[i] = value;
}

}  // namespace numerics

#endif  // MOE_COMM_HOST_TWIN_NUMERICS_H
