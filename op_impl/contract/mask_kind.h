// How a kernel is told the shape of x_active_mask.
#ifndef MOE_COMM_CONTRACT_MASK_KIND_H
#define MOE_COMM_CONTRACT_MASK_KIND_H

#include <cstdint>

namespace moe_comm {

enum MaskKind : uint32_t { kNoMask = 0, kMaskPerToken = 1, kMaskPerExpert = 2 };

}  // namespace moe_comm

#endif  // MOE_COMM_CONTRACT_MASK_KIND_H
