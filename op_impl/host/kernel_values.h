// The values that a kernel gets from an operator's arguments. The generated kernel_entries.h calls these functions.
#ifndef MOE_COMM_HOST_KERNEL_VALUES_H
#define MOE_COMM_HOST_KERNEL_VALUES_H

#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "host/operator.h"

namespace moe_comm {

// An int argument as the 32 bits that a kernel gets.
inline uint32_t ScalarOf(const Argument &argument, const char *name) {
  if (argument.scalar < 0 || argument.scalar > std::numeric_limits<uint32_t>::max()) {
    throw std::invalid_argument("'" + std::string(name) + "' must be 0 to 4294967295, but got " +
                                std::to_string(argument.scalar) + ".");
  }
  return static_cast<uint32_t>(argument.scalar);
}

// A dimension of a tensor, 0 for None.
inline uint32_t DimensionOf(const Argument &tensor, size_t dimension) {
  return tensor.given ? static_cast<uint32_t>(tensor.shape[dimension]) : 0;
}

inline uint32_t ElementBytesOf(const Argument &tensor) { return static_cast<uint32_t>(ElementBytes(tensor.dtype)); }

}  // namespace moe_comm

#endif  // MOE_COMM_HOST_KERNEL_VALUES_H
