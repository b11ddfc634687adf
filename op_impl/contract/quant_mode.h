// How dispatch writes rows: `quant_mode`, numbered as CANN does, and the shape of its smooth factors.
#ifndef MOE_COMM_CONTRACT_QUANT_MODE_H
#define MOE_COMM_CONTRACT_QUANT_MODE_H

#include <cstdint>

namespace moe_comm {

enum QuantMode : uint32_t { kNotQuantised = 0, kDynamicInt8 = 2 };

enum SmoothKind : uint32_t { kNoSmooth = 0, kSmoothPerColumn = 1, kSmoothPerExpert = 2 };

}  // namespace moe_comm

#endif  // MOE_COMM_CONTRACT_QUANT_MODE_H
