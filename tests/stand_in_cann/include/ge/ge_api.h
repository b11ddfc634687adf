// Stand-in for CANN (see graph/types.h).
#ifndef STAND_IN_CANN_GE_API_H
#define STAND_IN_CANN_GE_API_H

#include <memory>

namespace ge {
class Allocator;
using AllocatorPtr = std::shared_ptr<Allocator>;
class Graph;
class Session;
}  // namespace ge

#endif  // STAND_IN_CANN_GE_API_H
