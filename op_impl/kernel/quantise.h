// Dynamic int8 quantisation of token rows, in fp32: q = round(v * (127 / max|v|)), half to even, scale = max|v| / 127,
// where v is the row, or the row times smooth factors. A row that holds NaN or infinity becomes zeros with a NaN scale.
// A row of zeros, or one whose scale would be denormal, becomes zeros with scale 0.
#ifndef MOE_COMM_KERNEL_QUANTISE_H
#define MOE_COMM_KERNEL_QUANTISE_H

#include <type_traits>

#include "kernel/moves.h"
#include "kernel/visit_dtype.h"

namespace moe_comm {

class Quantiser {
 public:
  static constexpr uint32_t kTile = 2048;  // elements at once; a row that fits is loaded once, a longer one twice

  __aicore__ inline void Init(uint32_t hidden_size, uint32_t dtype, bool smooth, AscendC::TPipe *pipe) {
    hidden_size_ = hidden_size;
    dtype_ = dtype;
    pipe->InitBuffer(in_, 1, kTile * sizeof(float));
    if (smooth) pipe->InitBuffer(smooth_in_, 1, kTile * sizeof(float));
    pipe->InitBuffer(out_, 2, kTile);
    pipe->InitBuffer(values_buffer_, kTile * sizeof(float));
    pipe->InitBuffer(work_buffer_, kTile * sizeof(float));
    pipe->InitBuffer(largest_buffer_, kFold * sizeof(int32_t));
    values_ = values_buffer_.Get<float>();
    work_ = work_buffer_.Get<uint32_t>();
    largest_ = largest_buffer_.Get<int32_t>();
  }

  // Begins the row at `row` with the smooth factors at `smooth` ([hidden_size] fp32, or null). Returns its scale.
  __aicore__ inline float Begin(GM_ADDR row, GM_ADDR smooth) {
    row_ = row;
    smooth_ = smooth;
    const uint32_t bits = LargestMagnitude();
    zeros_ = bits < kSmallest || bits >= kInfinity;
    if (bits >= kInfinity) return FloatOf(kNan);
    if (zeros_) return 0.0f;
    const float largest = FloatOf(bits);
    factor_ = 127.0f / largest;
    return largest / 127.0f;
  }

  // Elements offset .. offset + count of the row as int8, and zeros up to a multiple of 32. The caller frees it.
  __aicore__ inline AscendC::LocalTensor<int8_t> Tile(uint32_t offset, uint32_t count) {
    const uint32_t padded = static_cast<uint32_t>(RoundUp(count, kRowAlign));
    const AscendC::LocalTensor<half> narrow = work_.template ReinterpretCast<half>();
    if (zeros_ || padded != count) {
      AscendC::Duplicate(work_, static_cast<uint32_t>(0), static_cast<int32_t>(padded / 2));  // two at a time
      AscendC::PipeBarrier<PIPE_V>();
    }
    if (!zeros_) {
      if (hidden_size_ > kTile) LoadValues(offset, count);
      AscendC::Muls(values_, values_, factor_, static_cast<int32_t>(count));
      AscendC::PipeBarrier<PIPE_V>();
      AscendC::Cast(values_, values_, AscendC::RoundMode::CAST_RINT, count);
      AscendC::PipeBarrier<PIPE_V>();
      AscendC::Cast(narrow, values_, AscendC::RoundMode::CAST_RINT, count);  // whole numbers to 127: exact
      AscendC::PipeBarrier<PIPE_V>();
    }
    AscendC::LocalTensor<int8_t> result = out_.template AllocTensor<int8_t>();
    AscendC::Cast(result, narrow, AscendC::RoundMode::CAST_RINT, padded);
    AscendC::PipeBarrier<PIPE_V>();  // the next tile uses the same memory
    out_.EnQue(result);
    return out_.template DeQue<int8_t>();
  }
  __aicore__ inline void Free(AscendC::LocalTensor<int8_t> &tile) { out_.FreeTensor(tile); }

 private:
  static constexpr uint32_t kFold = 512;
  static constexpr uint32_t kLanes = 8;              // 32 bytes: a narrower vector is not folded
  static constexpr uint32_t kSmallest = 0x04000000;  // 2^-119
  static constexpr uint32_t kInfinity = 0x7f800000;
  static constexpr uint32_t kNan = 0x7fc00000;

  // Converts in a register: the scalar unit may not read as a float what it wrote to local memory as an int.
  static __aicore__ inline float FloatOf(uint32_t bits) {
    union {
      uint32_t from;
      float to;
    } word = {bits};
    return word.to;
  }

  // The bits of the largest |v| of the row. Compared as integers, NaN is above infinity, and infinity above all else.
  // The vector unit's comparison of floats does not promise that.
  __aicore__ inline uint32_t LargestMagnitude() {
    Sync<AscendC::HardEvent::S_V>();  // the row before was read by the scalar unit
    AscendC::Duplicate(largest_, static_cast<int32_t>(0), static_cast<int32_t>(kFold));
    for (uint32_t offset = 0; offset < hidden_size_; offset += kTile) {
      const uint32_t count = Min(kTile, hidden_size_ - offset);
      LoadValues(offset, count);
      const AscendC::LocalTensor<uint32_t> bits = values_.template ReinterpretCast<uint32_t>();
      AscendC::ShiftLeft(work_, bits, static_cast<uint32_t>(1), static_cast<int32_t>(count));  // the sign goes
      AscendC::PipeBarrier<PIPE_V>();
      AscendC::ShiftRight(work_, work_, static_cast<uint32_t>(1), static_cast<int32_t>(count));
      AscendC::PipeBarrier<PIPE_V>();
      const AscendC::LocalTensor<int32_t> magnitudes = work_.template ReinterpretCast<int32_t>();
      for (uint32_t at = 0; at < count; at += kFold) {
        AscendC::Max(largest_, largest_, magnitudes[at], static_cast<int32_t>(Min(kFold, count - at)));
        AscendC::PipeBarrier<PIPE_V>();
      }
    }
    for (uint32_t half_of = kFold / 2; half_of >= kLanes; half_of /= 2) {
      AscendC::Max(largest_, largest_, largest_[half_of], static_cast<int32_t>(half_of));
      AscendC::PipeBarrier<PIPE_V>();
    }
    Sync<AscendC::HardEvent::V_S>();
    int32_t largest = 0;
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      const int32_t value = largest_.GetValue(lane);
      largest = value > largest ? value : largest;
    }
    return static_cast<uint32_t>(largest);
  }

  // values_ = the elements in fp32, smoothed.
  __aicore__ inline void LoadValues(uint32_t offset, uint32_t count) {
    VisitDtype(dtype_, LoadOf{this, offset, count});  // the dispatch has refused an unknown one
    AscendC::PipeBarrier<PIPE_V>();
    if (smooth_ == nullptr) return;
    AscendC::LocalTensor<float> factors = Fetch<float>(smooth_in_, smooth_ + offset * sizeof(float), count);
    AscendC::Mul(values_, values_, factors, static_cast<int32_t>(count));
    smooth_in_.FreeTensor(factors);
    AscendC::PipeBarrier<PIPE_V>();
  }

  struct LoadOf {
    Quantiser *quantiser;
    uint32_t offset;
    uint32_t count;
    template <typename T>
    __aicore__ inline void Visit() const {
      quantiser->LoadAs<T>(offset, count);
    }
  };

  template <typename T>
  __aicore__ inline void LoadAs(uint32_t offset, uint32_t count) {
    AscendC::LocalTensor<T> piece = Fetch<T>(in_, row_ + offset * sizeof(T), count);
    if constexpr (std::is_same<T, float>::value) {
      AscendC::Muls(values_, piece, 1.0f, static_cast<int32_t>(count));
    } else {
      AscendC::Cast(values_, piece, AscendC::RoundMode::CAST_NONE, count);
    }
    in_.FreeTensor(piece);
  }

  using Queue = AscendC::TQue<AscendC::TPosition::VECIN, 1>;

  template <typename T>
  __aicore__ inline AscendC::LocalTensor<T> Fetch(Queue &queue, GM_ADDR source, uint32_t count) {
    AscendC::GlobalTensor<T> from;
    from.SetGlobalBuffer(reinterpret_cast<__gm__ T *>(source));
    const AscendC::DataCopyExtParams move(1, static_cast<uint32_t>(count * sizeof(T)), 0, 0, 0);
    const AscendC::DataCopyPadExtParams<T> no_padding;
    AscendC::LocalTensor<T> piece = queue.template AllocTensor<T>();
    AscendC::DataCopyPad(piece, from, move, no_padding);
    queue.EnQue(piece);
    return queue.template DeQue<T>();
  }

  GM_ADDR smooth_;
  GM_ADDR row_;
  uint32_t hidden_size_;
  uint32_t dtype_;
  float factor_;
  bool zeros_;
  Queue in_;
  Queue smooth_in_;
  AscendC::TQue<AscendC::TPosition::VECOUT, 2> out_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> values_buffer_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> work_buffer_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> largest_buffer_;
  AscendC::LocalTensor<float> values_;
  AscendC::LocalTensor<uint32_t> work_;
  AscendC::LocalTensor<int32_t> largest_;
};

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_QUANTISE_H
