// Direct reading: combine reads a token's expert outputs from the remote windows, scales them and adds them in k order.
#ifndef MOE_COMM_KERNEL_REDUCTION_H
#define MOE_COMM_KERNEL_REDUCTION_H

#include "contract/special_experts.h"
#include "kernel/constant_experts.h"
#include "kernel/core.h"
#include "kernel/routing.h"
#include "kernel/visit_dtype.h"
#include "kernel_arguments.h"

namespace moe_comm {

// The sum is in fp32 and starts at +0. Each row in k order is multiplied, rounded, added, and the sum rounded. Then the
// shared expert and the residual follow. The sum is rounded once to the result's type. Special experts are added at
// their k. Other pairs without a row (expand_idx < 0) are skipped.
template <typename T>
class Reduction {
 public:
  __aicore__ inline void Init(Core &core, const CombineArguments &arguments) {
    window_ = &core.window;
    failure_ = &core.failure;
    arguments_ = arguments;
    hidden_ = static_cast<uint32_t>(window_->shape.row_bytes / sizeof(T));
    columns_ = arguments.top_k + window_->shared_expert_num;
    special_.zero = arguments.zero_expert_num;
    special_.copy = arguments.copy_expert_num;
    special_.constant = arguments.const_expert_num;
    MakeBuffers(core.pipe);
    RoutingInput input;
    input.expert_ids = arguments.expert_ids;
    input.active_mask = nullptr;
    input.token_num = arguments.token_num;
    input.top_k = arguments.top_k;
    input.id_bytes = arguments.id_bytes;
    input.mask_kind = kNoMask;
    routing_.Init(input, window_->expert_num + Total(special_), routing_buffer_.Get<uint8_t>());
    pieces_.Init(arguments.tile_elements, core.pipe);
    constant_experts_.Init(arguments, hidden_, arguments.tile_elements, &pieces_, sum_, term_,
                           lanes_buffer_.Get<float>());
  }

  // The tiles of a token's row. Two blocks may share the tiles of one token.
  __aicore__ inline uint32_t TilesPerToken() const {
    return (hidden_ + arguments_.tile_elements - 1) / arguments_.tile_elements;
  }

  // Reduces the tiles begin .. end of all tokens' tiles in row-major order.
  __aicore__ inline void Reduce(uint64_t begin, uint64_t end) {
    const uint32_t tiles = TilesPerToken();
    uint64_t tile = begin;
    while (tile < end && !failure_->Failed()) {
      const uint32_t first = static_cast<uint32_t>(tile / tiles);
      const uint32_t last = static_cast<uint32_t>((end + tiles - 1) / tiles);
      const uint32_t tokens = Min(Routing::kTileTokens, last - first);
      LoadTokens(first, tokens);
      if (!Check(first, tokens)) return;
      for (; tile < end && tile / tiles < first + tokens; ++tile) {
        const uint32_t token = static_cast<uint32_t>(tile / tiles) - first;
        if (tile == begin || tile % tiles == 0) LoadCoefficients(first, token);
        ReduceTile(first, token, static_cast<uint32_t>(tile % tiles));
      }
    }
  }

 private:
  __aicore__ inline void MakeBuffers(AscendC::TPipe *pipe) {
    const uint32_t tile_bytes = arguments_.tile_elements * sizeof(float);
    pipe->InitBuffer(routing_buffer_, Routing::kBufferBytes);
    pipe->InitBuffer(indices_buffer_, Routing::kTileTokens * (kMaxTopK + kMaxSharedExperts) * sizeof(int32_t));
    pipe->InitBuffer(scales_buffer_, Routing::kTileTokens * kMaxTopK * sizeof(float));
    pipe->InitBuffer(sum_buffer_, tile_bytes);
    pipe->InitBuffer(term_buffer_, tile_bytes);
    pipe->InitBuffer(blend_buffer_, tile_bytes);
    pipe->InitBuffer(lanes_buffer_, ConstantExperts<T>::kBufferBytes);
    pipe->InitBuffer(coefficients_buffer_, 2 * kMaxTopK * sizeof(float));
    const uint32_t result_bytes = BytesOf(arguments_.result_dtype);
    if (result_bytes == 0) failure_->Record(kReadInput, window_->epoch, UnknownDtype{arguments_.result_dtype});
    pipe->InitBuffer(out_, 2, result_bytes == 0 ? tile_bytes : arguments_.tile_elements * result_bytes);
    indices_ = indices_buffer_.Get<int32_t>();
    scales_ = scales_buffer_.Get<float>();
    sum_ = sum_buffer_.Get<float>();
    term_ = term_buffer_.Get<float>();
    blend_ = blend_buffer_.Get<float>();
    coefficients_ = coefficients_buffer_.Get<float>();
  }

  __aicore__ inline void LoadTokens(uint32_t first, uint32_t tokens) {
    const uint64_t word = static_cast<uint64_t>(first) * sizeof(int32_t);
    routing_.LoadTile(first, tokens);
    Load(indices_, arguments_.expand_idx + word * columns_, tokens * columns_);
    if (arguments_.expert_scales == nullptr) return;
    Load(scales_, arguments_.expert_scales + word * arguments_.top_k, tokens * arguments_.top_k);
  }

  // Refuses ids and rows that dispatch cannot have given, before an address is formed from them.
  __aicore__ inline bool Check(uint32_t first, uint32_t tokens) {
    for (uint32_t token = 0; token < tokens; ++token) {
      for (uint32_t k = 0; k < arguments_.top_k; ++k) {
        const int64_t row = Row(token, k);
        if (row < 0 && row != kSpecialExpert) continue;
        if (!routing_.Check(first, token, k, window_->epoch, *failure_)) return false;
        const int64_t id = routing_.GivenId(token, k);
        const bool has_row = id >= 0 && id < static_cast<int64_t>(window_->expert_num);
        if (has_row && row >= 0 && row < static_cast<int64_t>(window_->shape.capacity)) continue;
        if (!has_row && id >= 0 && row == kSpecialExpert) continue;
        RecordRow(first, token, k);
        return false;
      }
      for (uint32_t k = arguments_.top_k; k < columns_; ++k) {
        if (Row(token, k) < static_cast<int64_t>(window_->shape.capacity)) continue;
        RecordRow(first, token, k);
        return false;
      }
    }
    return true;
  }

  __aicore__ inline void RecordRow(uint32_t first, uint32_t token, uint32_t k) {
    const RowIndexRange error = {Row(token, k), static_cast<int64_t>(window_->shape.capacity), first + token, k};
    failure_->Record(kReadInput, window_->epoch, error);
  }

  // The pair's expand_idx. The columns from K on are the shared experts on ranks of their own.
  __aicore__ inline int32_t Row(uint32_t token, uint32_t column) const {
    return indices_.GetValue(token * columns_ + column);
  }

  // The number of pair (token, k)'s special expert: its id less the number of experts.
  __aicore__ inline uint32_t Special(uint32_t token, uint32_t k) const {
    return static_cast<uint32_t>(routing_.GivenId(token, k)) - window_->expert_num;
  }

  // Loads the coefficients of a token's constant experts, once for all its tiles.
  __aicore__ inline void LoadCoefficients(uint32_t first, uint32_t token) {
    if (special_.constant == 0) return;
    GM_ADDR x = arguments_.ori_x + (static_cast<uint64_t>(first) + token) * window_->shape.row_bytes;
    for (uint32_t k = 0; k < arguments_.top_k; ++k) {
      if (Row(token, k) != kSpecialExpert) continue;
      if (!IsConstant(special_, Special(token, k))) continue;
      float a1 = 0.0f;
      float a2 = 0.0f;
      constant_experts_.Coefficients(ConstantIndex(special_, Special(token, k)), x, a1, a2);
      coefficients_.SetValue(2 * k, a1);
      coefficients_.SetValue(2 * k + 1, a2);
    }
  }

  __aicore__ inline void ReduceTile(uint32_t first, uint32_t token, uint32_t tile) {
    const uint32_t offset = tile * arguments_.tile_elements;
    const uint32_t elements = Min(arguments_.tile_elements, hidden_ - offset);
    const uint64_t in_row = static_cast<uint64_t>(offset) * sizeof(T);
    const uint64_t own_row = (static_cast<uint64_t>(first) + token) * hidden_ + offset;
    AscendC::Duplicate(sum_, 0.0f, static_cast<int32_t>(elements));
    AscendC::PipeBarrier<PIPE_V>();
    waiting_ = kNothing;
    for (uint32_t k = 0; k < arguments_.top_k; ++k) {
      const int32_t row = Row(token, k);
      if (row == kSpecialExpert) AddSpecial(token, k, own_row, offset, elements);
      if (row < 0) continue;
      const uint32_t owner = window_->OwnerOfExpert(routing_.GivenId(token, k));
      AddRow(window_->Peer(owner, Output(row) + in_row), Weight(token * arguments_.top_k + k), elements);
    }
    for (uint32_t k = arguments_.top_k; k < columns_; ++k) {
      const int32_t row = Row(token, k);
      if (row < 0) continue;
      const uint32_t owner = window_->Owner(window_->SharedSlot(k - arguments_.top_k));
      AddRow(window_->Peer(owner, Output(row) + in_row), 1.0f, elements);
    }
    if (arguments_.shared_expert_x != nullptr) AddRow(arguments_.shared_expert_x + own_row * sizeof(T), 1.0f, elements);
    if (arguments_.residual_x != nullptr) AddRow(arguments_.residual_x + own_row * sizeof(T), 1.0f, elements);
    UseWaiting(elements);
    StoreSum(own_row, elements);
  }

  __aicore__ inline uint64_t Output(int32_t row) const { return window_->layout.outputs(static_cast<uint64_t>(row)); }

  __aicore__ inline void AddSpecial(uint32_t token, uint32_t k, uint64_t own_row, uint32_t offset, uint32_t elements) {
    const uint32_t expert = Special(token, k);
    const float weight = Weight(token * arguments_.top_k + k);
    GM_ADDR x = arguments_.ori_x + own_row * sizeof(T);
    if (IsCopy(special_, expert)) AddRow(x, weight, elements);
    if (!IsConstant(special_, expert)) return;
    const uint64_t at = static_cast<uint64_t>(ConstantIndex(special_, expert)) * hidden_ + offset;
    Bring(x, kToken, coefficients_.GetValue(2 * k), elements);
    Bring(arguments_.const_expert_v + at * sizeof(T), kConstant, coefficients_.GetValue(2 * k + 1), elements);
    blend_weight_ = weight;
  }

  __aicore__ inline float Weight(uint32_t pair) const {
    return arguments_.expert_scales == nullptr ? 1.0f : scales_.GetValue(pair);
  }

  // How a piece, times its factor, is used once it is there.
  enum Use : uint32_t {
    kNothing,
    kTerm,      // added to the sum
    kToken,     // a1 * x of a constant expert: kept until a2 * v is there
    kConstant,  // a2 * v: added to a1 * x; their sum, times the weight, is added to the sum
  };

  __aicore__ inline void AddRow(GM_ADDR source, float weight, uint32_t elements) {
    Bring(source, kTerm, weight, elements);
  }

  // Fetches a piece of a row, and meanwhile uses the piece before.
  __aicore__ inline void Bring(GM_ADDR source, Use use, float factor, uint32_t elements) {
    pieces_.Fetch(source, elements);
    UseWaiting(elements);
    waiting_ = use;
    waiting_factor_ = factor;
  }

  __aicore__ inline void UseWaiting(uint32_t elements) {
    const int32_t count = static_cast<int32_t>(elements);
    if (waiting_ == kNothing) return;
    pieces_.Take(waiting_ == kToken ? blend_ : term_, waiting_factor_, elements);
    if (waiting_ == kToken) return;
    if (waiting_ == kConstant) {
      AscendC::Add(term_, blend_, term_, count);
      AscendC::PipeBarrier<PIPE_V>();
      AscendC::Muls(term_, term_, blend_weight_, count);
      AscendC::PipeBarrier<PIPE_V>();
    }
    AscendC::Add(sum_, sum_, term_, count);
    AscendC::PipeBarrier<PIPE_V>();
  }

  struct StoreSumOf {
    Reduction *reduction;
    uint64_t at;
    uint32_t elements;
    template <typename Out>
    __aicore__ inline void Visit() const {
      reduction->template StoreSumAs<Out>(at, elements);
    }
  };
  __aicore__ inline void StoreSum(uint64_t at, uint32_t elements) {
    VisitDtype(arguments_.result_dtype, StoreSumOf{this, at, elements});  // Init has refused an unknown one
  }

  template <typename Out>
  __aicore__ inline void StoreSumAs(uint64_t at, uint32_t elements) {
    AscendC::GlobalTensor<Out> y;
    y.SetGlobalBuffer(reinterpret_cast<__gm__ Out *>(arguments_.y));
    AscendC::LocalTensor<Out> result = out_.template AllocTensor<Out>();
    if constexpr (std::is_same<Out, float>::value) {
      AscendC::Muls(result, sum_, 1.0f, static_cast<int32_t>(elements));
    } else {
      AscendC::Cast(result, sum_, AscendC::RoundMode::CAST_RINT, elements);
    }
    AscendC::PipeBarrier<PIPE_V>();
    out_.EnQue(result);
    result = out_.template DeQue<Out>();
    const AscendC::DataCopyExtParams move(1, static_cast<uint32_t>(elements * sizeof(Out)), 0, 0, 0);
    AscendC::DataCopyPad(y[at], result, move);
    out_.FreeTensor(result);
  }

  const Window *window_;
  Failure *failure_;
  CombineArguments arguments_;
  SpecialExperts special_;
  uint32_t hidden_;
  uint32_t columns_;  // of expand_idx
  Routing routing_;
  Pieces<T> pieces_;
  ConstantExperts<T> constant_experts_;
  Use waiting_;  // how to use the piece that is fetched and not used yet
  float waiting_factor_;
  float blend_weight_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> routing_buffer_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> indices_buffer_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> scales_buffer_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> sum_buffer_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> term_buffer_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> blend_buffer_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> lanes_buffer_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> coefficients_buffer_;
  AscendC::TQue<AscendC::TPosition::VECOUT, 2> out_;
  AscendC::LocalTensor<int32_t> indices_;
  AscendC::LocalTensor<float> scales_;
  AscendC::LocalTensor<float> sum_;
  AscendC::LocalTensor<float> term_;
  AscendC::LocalTensor<float> blend_;
  AscendC::LocalTensor<float> coefficients_;
};

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_REDUCTION_H
