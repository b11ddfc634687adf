// The kernels' entry points as the host sees them: the functions of op_kernel, compiled against the host twin.
#ifndef MOE_COMM_CONTRACT_KERNEL_ENTRIES_H
#define MOE_COMM_CONTRACT_KERNEL_ENTRIES_H

#include <cstdint>

extern "C" {
void canary(uint8_t *lines, uint32_t low, uint32_t high);
void moe_decode_dispatch(uint8_t *x, uint8_t *expert_ids, uint8_t *active_mask, uint8_t *scales, uint8_t *expert_map,
                         uint8_t *replica_counts, uint8_t *rank_mask, uint8_t *window, uint8_t *expand_idx, uint8_t *expert_token_nums,
                         uint8_t *plan, uint8_t *physical_ids, uint32_t token_num, uint32_t top_k, uint32_t id_bytes,
                         uint32_t mask_kind, uint32_t quant_mode, uint32_t smooth_kind, uint32_t logical_expert_num,
                         uint32_t max_replicas, uint32_t replica_policy, uint32_t special_expert_num,
                         uint32_t cumulative, uint32_t row_buffer_bytes);
void moe_prefill_dispatch(uint8_t *x, uint8_t *expert_ids, uint8_t *active_mask, uint8_t *scales, uint8_t *expert_map,
                          uint8_t *replica_counts, uint8_t *rank_mask, uint8_t *window, uint8_t *expand_idx, uint8_t *expert_token_nums,
                          uint8_t *plan, uint8_t *physical_ids, uint8_t *kept_plan, uint32_t token_num, uint32_t top_k,
                          uint32_t id_bytes, uint32_t mask_kind, uint32_t quant_mode, uint32_t smooth_kind, uint32_t logical_expert_num,
                          uint32_t max_replicas, uint32_t replica_policy, uint32_t special_expert_num,
                          uint32_t cumulative, uint32_t row_buffer_bytes, uint32_t batch_tokens);
void moe_decode_combine(uint8_t *expand_x, uint8_t *expert_ids, uint8_t *expert_scales, uint8_t *expand_idx,
                        uint8_t *plan, uint8_t *shared_expert_x, uint8_t *residual_x, uint8_t *ori_x,
                        uint8_t *const_expert_alpha_1, uint8_t *const_expert_alpha_2, uint8_t *const_expert_v,
                        uint8_t *window, uint8_t *y, uint32_t token_num, uint32_t top_k, uint32_t id_bytes, uint32_t dtype,
                        uint32_t out_dtype, uint32_t tile_elements, uint32_t zero_expert_num, uint32_t copy_expert_num,
                        uint32_t const_expert_num, uint32_t alpha_rank);
void moe_prefill_combine(uint8_t *expand_x, uint8_t *expert_ids, uint8_t *expert_scales, uint8_t *expand_idx,
                         uint8_t *plan, uint8_t *shared_expert_x, uint8_t *residual_x, uint8_t *ori_x,
                         uint8_t *const_expert_alpha_1, uint8_t *const_expert_alpha_2, uint8_t *const_expert_v,
                         uint8_t *window, uint8_t *y, uint32_t token_num, uint32_t top_k, uint32_t id_bytes, uint32_t dtype,
                         uint32_t out_dtype, uint32_t tile_elements, uint32_t zero_expert_num, uint32_t copy_expert_num,
                         uint32_t const_expert_num, uint32_t alpha_rank);
}

#endif  // MOE_COMM_CONTRACT_KERNEL_ENTRIES_H
