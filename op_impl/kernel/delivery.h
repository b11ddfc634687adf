// Who brings rows to whom in a dispatch. It says which flags `arrived` a rank raises and awaits.
#ifndef MOE_COMM_KERNEL_DELIVERY_H
#define MOE_COMM_KERNEL_DELIVERY_H

#include "contract/window_schema.h"

namespace moe_comm {

// Tables [R] of this rank.
struct Delivery {
  PartPlace to;    // the rows that this rank brings to each rank
  PartPlace from;  // the rows that each rank brings to this one
};

// Each rank moves its own rows, as the exchange of counts has found them.
__aicore__ inline Delivery OwnDelivery(const WindowLayout &layout) { return {layout.destinations, layout.sources}; }

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_DELIVERY_H
