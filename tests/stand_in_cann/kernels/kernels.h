// The interface between the stand-in and the kernels that ascendc.cmake compiles for it.
#ifndef STAND_IN_CANN_KERNELS_H
#define STAND_IN_CANN_KERNELS_H

#include <cstddef>
#include <cstdint>

namespace stand_in {

// A kernel binary has one entry for each kernel, named stand_in_<kernel>.
struct KernelEntry {
  size_t argument_bytes;  // of the block: sync address, the kernel's own arguments, overflow pointer
  void (*run)(uint32_t blocks, const void *arguments);
};

}  // namespace stand_in

// What aclrtlaunch_<kernel> calls: adds the sync address and queues the kernel.
extern "C" uint32_t stand_in_launch(const char *name, const stand_in::KernelEntry *entry, uint32_t blocks, void *stream,
                                    void *arguments);

#endif  // STAND_IN_CANN_KERNELS_H
