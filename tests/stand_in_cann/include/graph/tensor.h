// Stand-in for CANN (see graph/types.h).
#ifndef STAND_IN_CANN_GRAPH_TENSOR_H
#define STAND_IN_CANN_GRAPH_TENSOR_H

#include "graph/types.h"

namespace ge {
class AscendString;
class Shape;
class Tensor {};
class TensorDesc {};
}  // namespace ge

#endif  // STAND_IN_CANN_GRAPH_TENSOR_H
