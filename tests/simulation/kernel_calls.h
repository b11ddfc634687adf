// Calls of the kernels, with their arguments by name.
#ifndef MOE_COMM_TESTS_SIMULATION_KERNEL_CALLS_H
#define MOE_COMM_TESTS_SIMULATION_KERNEL_CALLS_H

#include <cstdint>

#include "arguments.h"
#include "kernel_entries.h"
#include "options.h"
#include "workload.h"

namespace simulation {

namespace named = moe_comm::named;

template <typename KernelArguments>
void Call(const KernelArguments &arguments) {
  Apply(EntryOf(arguments), arguments);
}

// What both dispatch kernels get.
inline moe_comm::DispatchArguments SharedByDispatch(const Options &o, const Arguments &a, uint8_t *window,
                                                    uint32_t row_buffer_bytes) {
  return moe_comm::DispatchWith(named::X(a.x), named::ExpertIds(a.expert_ids), named::XActiveMask(a.mask),
                                named::Scales(a.smooth), named::LogicalToPhysicalMap(a.map),
                                named::LogicalReplicaCount(a.replica_counts), named::RankMask(a.rank_mask),
                                named::Window(window), named::ExpandIdx(a.expand_idx),
                                named::ExpertTokenNums(a.expert_token_nums), named::Plan(a.plan),
                                named::PhysicalExpertIds(a.physical_ids), named::TokenNum(a.token_num),
                                named::TopK(o.top_k), named::IdBytes(o.id_bytes), named::MaskKind(o.mask_kind),
                                named::QuantMode(a.quant_mode), named::SmoothKind(a.smooth_kind),
                                named::LogicalExpertNum(static_cast<uint32_t>(o.rules.map.size())),
                                named::MaxReplicas(o.max_replicas), named::ReplicaPolicy(o.rules.replica_policy),
                                named::SpecialExpertNum(o.rules.special_expert_num),
                                named::ExpertTokenNumsType(!o.cumulative), named::RowBufferBytes(row_buffer_bytes));
}

inline void CallDecodeDispatch(const Options &o, const Arguments &a, uint8_t *window) {
  Call(moe_comm::MoeDecodeDispatchWith(SharedByDispatch(o, a, window, o.decode_buffer_bytes)));
}

inline void CallPrefillDispatch(const Options &o, const Arguments &a, uint8_t *window) {
  Call(moe_comm::MoePrefillDispatchWith(SharedByDispatch(o, a, window, o.prefill.row_buffer_bytes),
                                        named::KeptPlan(a.kept_plan), named::BatchTokens(o.prefill.batch_tokens)));
}

// x is read only for special experts.
inline uint8_t *OriX(const Options &o, const Arguments &a) {
  return o.special.copy + o.special.constant > 0 ? a.x : nullptr;
}

// What both combine kernels get.
inline moe_comm::CombineArguments SharedByCombine(const Options &o, const Step &step, const Arguments &a,
                                                  uint8_t *expand_x, uint8_t *window) {
  return moe_comm::CombineWith(named::ExpandX(expand_x), named::ExpertIds(a.combine_ids), named::ExpertScales(a.scales),
                               named::ExpandIdx(a.expand_idx), named::Plan(a.plan), named::SharedExpertX(a.shared),
                               named::ResidualX(a.residual), named::OriX(OriX(o, a)),
                               named::ConstExpertAlpha1(a.alpha_1), named::ConstExpertAlpha2(a.alpha_2),
                               named::ConstExpertV(a.v), named::Window(window), named::Y(a.y),
                               named::TokenNum(a.token_num), named::TopK(o.top_k), named::IdBytes(a.combine_id_bytes),
                               named::Dtype(a.dtype), named::ResultDtype(a.result_dtype),
                               named::TileElements(o.tile_elements), named::ZeroExpertNum(o.special.zero),
                               named::CopyExpertNum(o.special.copy), named::ConstExpertNum(o.special.constant),
                               named::AlphaRank(step.special.alpha_rank));
}

inline void CallDecodeCombine(const Options &o, const Step &step, const Arguments &a, uint8_t *expand_x,
                              uint8_t *window) {
  Call(moe_comm::MoeDecodeCombineWith(SharedByCombine(o, step, a, expand_x, window)));
}

inline void CallPrefillCombine(const Options &o, const Step &step, const Arguments &a, uint8_t *expand_x,
                               uint8_t *window) {
  Call(moe_comm::MoePrefillCombineWith(SharedByCombine(o, step, a, expand_x, window)));
}

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_KERNEL_CALLS_H
