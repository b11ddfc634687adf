// What the package's two libraries give each other. _lib.so is all that a CPU needs, and loads without CANN and without
// MindSpore's Ascend plugin. _ascend.so lies beside it where the package was built with CANN: it is loaded when
// something is to run on an NPU, takes the operators from _lib.so, registers them for graph mode, and gives what
// _lib.so does not have.
#ifndef MOE_COMM_HOST_ASCEND_PART_H
#define MOE_COMM_HOST_ASCEND_PART_H

#include <cstddef>
#include <cstdint>
#include <vector>

#include "host/operator.h"

namespace ms {
class Tensor;
}

namespace moe_comm {

struct Operator;

struct AscendPart {
  // See npu.h.
  uint64_t (*vector_cores)();
  void (*launch)(const char *op, uint64_t blocks, void *stream, const uint8_t *arguments, uint64_t bytes);
  void (*run_alone)(const char *op, uint64_t blocks, const uint8_t *arguments, uint64_t bytes);
  void (*copy_to_device)(uint8_t *device, const void *host, uint64_t bytes);
  void (*clear)(uint8_t *device, uint64_t bytes);
  void (*copy_to_host)(void *host, const uint8_t *device, uint64_t bytes);
  // In PyNative: queues `op` if CANN has it built in; false if it is an operator of our own. `tensors`: the arguments
  // that are tensors.
  bool (*queue_built_in)(const Operator &op, const Arguments &arguments, const std::vector<ms::Tensor> &tensors,
                         const std::vector<ms::Tensor> &outputs);
};

// The one symbol of _ascend.so that _lib.so looks up: it is given all operators, and called once.
using AttachAscend = const AscendPart *(*)(const std::vector<const Operator *> &operators);
constexpr char kAttachAscend[] = "moe_comm_attach_ascend";

// Loads _ascend.so at the first call. Throws std::runtime_error with the cause and what to do if there is none.
const AscendPart &Ascend();

}  // namespace moe_comm

#endif  // MOE_COMM_HOST_ASCEND_PART_H
