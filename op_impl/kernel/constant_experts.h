// Constant expert c gives a1 * x + a2 * v[c]. The coefficients (a1, a2) are parameters, or drawn from the token's x.
#ifndef MOE_COMM_KERNEL_CONSTANT_EXPERTS_H
#define MOE_COMM_KERNEL_CONSTANT_EXPERTS_H

#include "kernel/pieces.h"
#include "kernel_arguments.h"

namespace moe_comm {

// alpha [V]: a1 = alpha_1[c], a2 = alpha_2[c]. alpha [V, H]: (a1, a2) = softmax of the dot products of x with
// alpha_1[c] and alpha_2[c]. A dot product is a sum in fp32 in one order, whatever the tiles: product i is added to
// lane i mod 256, in ascending i from +0. Then the upper half of the lanes is added to the lower one until 8 are left,
// which are added in ascending order. Every operation is rounded by itself.
template <typename T>
class ConstantExperts {
 public:
  static constexpr uint32_t kLanes = 256;
  static constexpr uint32_t kBufferBytes = 2 * kLanes * sizeof(float);

  // `x` and `product` hold `tile_elements` each. They are free whenever Coefficients is called.
  __aicore__ inline void Init(const CombineArguments &arguments, uint32_t hidden, uint32_t tile_elements,
                              Pieces<T> *pieces, const AscendC::LocalTensor<float> &x,
                              const AscendC::LocalTensor<float> &product, const AscendC::LocalTensor<float> &lanes) {
    arguments_ = arguments;
    hidden_ = hidden;
    tile_elements_ = tile_elements;
    pieces_ = pieces;
    x_ = x;
    product_ = product;
    lanes_ = lanes;
  }

  // (a1, a2) of expert `c` for the token whose row is at `x`.
  __aicore__ inline void Coefficients(uint32_t c, GM_ADDR x, float &a1, float &a2) {
    if (arguments_.alpha_rank == 1) {
      a1 = Element(arguments_.const_expert_alpha_1, c);
      a2 = Element(arguments_.const_expert_alpha_2, c);
      return;
    }
    const uint64_t row = static_cast<uint64_t>(c) * hidden_ * sizeof(T);
    AscendC::Duplicate(lanes_, 0.0f, static_cast<int32_t>(2 * kLanes));  // complete after Take, which ends in a barrier
    for (uint32_t offset = 0; offset < hidden_; offset += tile_elements_) {
      const uint32_t elements = Min(tile_elements_, hidden_ - offset);
      const uint64_t in_row = static_cast<uint64_t>(offset) * sizeof(T);
      pieces_->Fetch(x + in_row, elements);
      pieces_->Fetch(arguments_.const_expert_alpha_1 + row + in_row, elements);
      pieces_->Take(x_, 1.0f, elements);
      pieces_->Fetch(arguments_.const_expert_alpha_2 + row + in_row, elements);
      AddProducts(lanes_, offset, elements);
      AddProducts(lanes_[kLanes], offset, elements);
    }
    Softmax(Sum(lanes_), Sum(lanes_[kLanes]), a1, a2);
  }

 private:
  // One element of an [V] tensor.
  __aicore__ inline float Element(GM_ADDR tensor, uint32_t index) {
    pieces_->Fetch(tensor + index * sizeof(T), 1);
    pieces_->Take(product_, 1.0f, 1);
    Sync<AscendC::HardEvent::V_S>();
    const float value = product_.GetValue(0);
    Sync<AscendC::HardEvent::S_V>();
    return value;
  }

  // Adds the products of the piece fetched first and the piece of x, which begins at `offset` of the row.
  __aicore__ inline void AddProducts(const AscendC::LocalTensor<float> &lanes, uint32_t offset, uint32_t elements) {
    pieces_->Take(product_, 1.0f, elements);
    AscendC::Mul(product_, product_, x_, static_cast<int32_t>(elements));
    AscendC::PipeBarrier<PIPE_V>();
    uint32_t at = 0;
    while (at < elements) {
      const uint32_t lane = (offset + at) % kLanes;
      const uint32_t part = Min(kLanes - lane, elements - at);
      AscendC::Add(lanes[lane], lanes[lane], product_[at], static_cast<int32_t>(part));
      AscendC::PipeBarrier<PIPE_V>();
      at += part;
    }
  }

  __aicore__ inline float Sum(const AscendC::LocalTensor<float> &lanes) {
    constexpr uint32_t kLeft = 8;  // a block of the unified buffer: the scalar unit adds what is left
    for (uint32_t half_width = kLanes / 2; half_width >= kLeft; half_width /= 2) {
      AscendC::Add(lanes, lanes, lanes[half_width], static_cast<int32_t>(half_width));
      AscendC::PipeBarrier<PIPE_V>();
    }
    Sync<AscendC::HardEvent::V_S>();
    float sum = lanes.GetValue(0);
    for (uint32_t lane = 1; lane < kLeft; ++lane) sum = sum + lanes.GetValue(lane);
    return sum;
  }

  // Subtracts the larger one first, so that nothing overflows.
  __aicore__ inline void Softmax(float first, float second, float &a1, float &a2) {
    const float largest = first > second ? first : second;
    lanes_.SetValue(0, first - largest);
    lanes_.SetValue(1, second - largest);
    Sync<AscendC::HardEvent::S_V>();
    AscendC::Exp(lanes_, lanes_, 2);
    Sync<AscendC::HardEvent::V_S>();
    const float exp_1 = lanes_.GetValue(0);
    const float exp_2 = lanes_.GetValue(1);
    Sync<AscendC::HardEvent::S_V>();
    a1 = exp_1 / (exp_1 + exp_2);
    a2 = exp_2 / (exp_1 + exp_2);
  }

  CombineArguments arguments_;
  uint32_t hidden_;
  uint32_t tile_elements_;
  Pieces<T> *pieces_;
  AscendC::LocalTensor<float> x_;
  AscendC::LocalTensor<float> product_;
  AscendC::LocalTensor<float> lanes_;
};

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_CONSTANT_EXPERTS_H
