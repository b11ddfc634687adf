// Stand-in for CANN: allocators that a framework may register (see acl_base.h).
#ifndef STAND_IN_CANN_ACL_RT_ALLOCATOR_H
#define STAND_IN_CANN_ACL_RT_ALLOCATOR_H

#include "acl/acl_rt.h"

typedef void *aclrtAllocatorDesc;
typedef void *aclrtAllocator;
typedef void *aclrtAllocatorBlock;
typedef void *aclrtAllocatorAddr;
typedef void *(*aclrtAllocatorAllocFunc)(aclrtAllocator, size_t);
typedef void (*aclrtAllocatorFreeFunc)(aclrtAllocator, aclrtAllocatorBlock);
typedef void *(*aclrtAllocatorAllocAdviseFunc)(aclrtAllocator, size_t, aclrtAllocatorAddr);
typedef void *(*aclrtAllocatorGetAddrFromBlockFunc)(aclrtAllocatorBlock);

#endif  // STAND_IN_CANN_ACL_RT_ALLOCATOR_H
