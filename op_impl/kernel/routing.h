// The router's choices for this rank's tokens, unchanged and read in tiles.
#ifndef MOE_COMM_KERNEL_ROUTING_H
#define MOE_COMM_KERNEL_ROUTING_H

#include "contract/mask_kind.h"
#include "kernel/failure.h"

namespace moe_comm {

struct RoutingInput {
  GM_ADDR expert_ids;   // [T, K] int32 or int64
  GM_ADDR active_mask;  // [T] or [T, K] bool, or none
  uint32_t token_num;
  uint32_t top_k;
  uint32_t id_bytes;
  uint32_t mask_kind;
};

constexpr int32_t kNotRouted = -1;

class Routing {
 public:
  static constexpr uint32_t kTileTokens = 32;
  static constexpr uint32_t kIdBytes = kTileTokens * kMaxTopK * sizeof(int64_t);
  static constexpr uint32_t kBufferBytes = kIdBytes + kTileTokens * kMaxTopK;

  __aicore__ inline void Init(const RoutingInput &input, uint32_t expert_num,
                              const AscendC::LocalTensor<uint8_t> &buffer) {
    input_ = input;
    expert_num_ = static_cast<int64_t>(expert_num);
    narrow_ = buffer.template ReinterpretCast<int32_t>();
    wide_ = buffer.template ReinterpretCast<int64_t>();
    mask_ = buffer[kIdBytes];
  }

  __aicore__ inline uint32_t TokenNum() const { return input_.token_num; }
  __aicore__ inline uint32_t TopK() const { return input_.top_k; }

  // Loads the ids of `tokens` (at most kTileTokens) tokens from `first` on.
  __aicore__ inline void LoadTile(uint32_t first, uint32_t tokens) {
    const uint64_t at = static_cast<uint64_t>(first) * input_.top_k;
    const uint32_t pairs = tokens * input_.top_k;
    if (input_.id_bytes == sizeof(int64_t)) {
      Load(wide_, input_.expert_ids + at * sizeof(int64_t), pairs);
    } else {
      Load(narrow_, input_.expert_ids + at * sizeof(int32_t), pairs);
    }
    if (input_.mask_kind == kMaskPerToken) Load(mask_, input_.active_mask + first, tokens);
    if (input_.mask_kind == kMaskPerExpert) Load(mask_, input_.active_mask + at, pairs);
  }

  // The id of pair (token, k) of the tile in expert_ids.
  __aicore__ inline int64_t GivenId(uint32_t token, uint32_t k) const {
    const uint32_t pair = token * input_.top_k + k;
    return input_.id_bytes == sizeof(int64_t) ? wide_.GetValue(pair) : static_cast<int64_t>(narrow_.GetValue(pair));
  }

  __aicore__ inline bool Masked(uint32_t token, uint32_t k) const {
    if (input_.mask_kind == kMaskPerToken) return mask_.GetValue(token) == 0;
    return input_.mask_kind == kMaskPerExpert && mask_.GetValue(token * input_.top_k + k) == 0;
  }

  // Records an error and returns false if pair (token, k) of the tile names an expert that does not exist.
  __aicore__ inline bool Check(uint32_t first, uint32_t token, uint32_t k, uint64_t epoch, Failure &failure) const {
    const int64_t id = GivenId(token, k);
    if (id < expert_num_) return true;
    failure.Record(kReadInput, epoch, ExpertIdRange{id, expert_num_, first + token, k});
    return false;
  }

 private:
  RoutingInput input_;
  int64_t expert_num_;
  AscendC::LocalTensor<int32_t> narrow_;
  AscendC::LocalTensor<int64_t> wide_;
  AscendC::LocalTensor<uint8_t> mask_;
};

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_ROUTING_H
