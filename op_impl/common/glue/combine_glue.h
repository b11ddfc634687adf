// What the glue of both combine operators shares.
#ifndef MOE_COMM_GLUE_COMBINE_GLUE_H
#define MOE_COMM_GLUE_COMBINE_GLUE_H

#include "common/glue/dispatch_glue.h"

namespace moe_comm {

// Where a combine operator has its arguments: prefill has the plan in between.
struct CombineSignature {
  const char *op;
  const char *const *names;
  size_t expand_x;
  size_t expert_ids;
  size_t expert_scales;
  size_t expand_idx;
  size_t window_control;
  size_t shared_expert_x;
};

// Output y.
std::vector<Output> InferCombine(const CombineSignature &signature, const Arguments &in);

struct CombineLaunch {
  WindowParameters window;
  uint8_t *control;
  uint32_t token_num;
  uint32_t top_k;
  uint32_t id_bytes;
};

CombineLaunch CheckCombine(const CombineSignature &signature, const Arguments &in, void *npu_stream);

}  // namespace moe_comm

#endif  // MOE_COMM_GLUE_COMBINE_GLUE_H
