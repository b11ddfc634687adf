// Redundant experts: which physical expert serves a token's logical one.
#ifndef MOE_COMM_KERNEL_EXPERT_MAP_H
#define MOE_COMM_KERNEL_EXPERT_MAP_H

#include "contract/replica_policy.h"
#include "kernel/live_ranks.h"
#include "kernel_arguments.h"

namespace moe_comm {

class ExpertMap {
 public:
  __aicore__ inline void Init(const Window *window, const LiveRanks *live, const DispatchArguments &arguments) {
    window_ = window;
    live_ = live;
    arguments_ = arguments;
    physical_ids_.SetGlobalBuffer(reinterpret_cast<__gm__ int32_t *>(arguments.logical_to_physical_map));
    replica_counts_.SetGlobalBuffer(reinterpret_cast<__gm__ int32_t *>(arguments.logical_replica_count));
    if (!Given()) return;
    // the scalar unit reads both, and another unit may have written them since the scalar cache loaded them
    AscendC::DataCacheCleanAndInvalid<int32_t, AscendC::CacheLine::ENTIRE_DATA_CACHE, AscendC::DcciDst::CACHELINE_OUT>(
        physical_ids_);
  }

  __aicore__ inline bool Given() const { return arguments_.logical_to_physical_map != nullptr; }
  // Ids from here on are special experts.
  __aicore__ inline int64_t IdLimit() const { return Given() ? arguments_.logical_expert_num : window_->expert_num; }

  // The physical expert for `token` of this rank, or kNoExpert where the map is not valid. If the rank of a replica
  // takes no part any more, the next replica serves.
  static constexpr int32_t kNoExpert = -1;
  __aicore__ inline int32_t Physical(int32_t expert, uint32_t token) const {
    if (!Given()) return expert;
    const int32_t count = replica_counts_.GetValue(expert);
    if (count < 1 || count > static_cast<int32_t>(arguments_.max_replicas)) return kNoExpert;
    const uint32_t first = Replica(token, static_cast<uint32_t>(count));
    int32_t physical = ReplicaAt(expert, first);
    for (int32_t i = 1; i < count && Known(physical) && !live_->Has(window_->OwnerOfExpert(physical)); ++i) {
      physical = ReplicaAt(expert, (first + i) % static_cast<uint32_t>(count));
    }
    return Known(physical) ? physical : kNoExpert;
  }

  // Checks the whole map and returns its hash, which shows whether all ranks have the same map.
  // `owned`: a page of the physical experts, filled with 0. For these, the check finds experts that are given twice.
  template <typename Page>
  __aicore__ inline uint32_t Check(const Page &owned, uint64_t epoch, Failure &failure) const {
    uint32_t hash = 1;
    for (uint32_t expert = 0; expert < arguments_.logical_expert_num; ++expert) {
      const int32_t count = replica_counts_.GetValue(expert);
      if (count < 1 || count > static_cast<int32_t>(arguments_.max_replicas)) {
        const InvalidMap error = {MapFault::kReplicaCount, expert, count, arguments_.max_replicas};
        failure.Record(kReadInput, epoch, error);
        return 0;
      }
      hash = hash * kHashFactor + static_cast<uint32_t>(count);
      for (int32_t replica = 0; replica < count; ++replica) {
        const int32_t physical = ReplicaAt(static_cast<int32_t>(expert), static_cast<uint32_t>(replica));
        const bool known = Known(physical);
        if (!known || (owned.Has(physical) && owned.Get(physical) != 0)) {
          const MapFault fault = known ? MapFault::kOwnedTwice : MapFault::kPhysicalId;
          failure.Record(kReadInput, epoch, InvalidMap{fault, expert, physical, window_->expert_num});
          return 0;
        }
        if (owned.Has(physical)) owned.Set(physical, 1);
        hash = hash * kHashFactor + static_cast<uint32_t>(physical);
      }
    }
    return hash;
  }

 private:
  __aicore__ inline bool Known(int32_t physical) const {
    return physical >= 0 && physical < static_cast<int32_t>(window_->expert_num);
  }
  __aicore__ inline int32_t ReplicaAt(int32_t expert, uint32_t replica) const {
    return physical_ids_.GetValue(static_cast<uint64_t>(expert) * arguments_.max_replicas + replica);
  }

  static constexpr uint32_t kHashFactor = 0x01000193;  // FNV's prime

  __aicore__ inline uint32_t Replica(uint32_t token, uint32_t count) const {
    if (arguments_.replica_policy == kReplicaByRank) return window_->rank * count / window_->world_size;
    if (arguments_.replica_policy == kReplicaByToken) return token % count;
    return (token + window_->rank) % count;
  }

  const Window *window_;
  const LiveRanks *live_;
  DispatchArguments arguments_;
  AscendC::GlobalTensor<int32_t> physical_ids_;
  AscendC::GlobalTensor<int32_t> replica_counts_;
};

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_EXPERT_MAP_H
