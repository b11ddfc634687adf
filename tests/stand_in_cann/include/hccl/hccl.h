// Stand-in for CANN: its collective library (see acl/acl_base.h).
#ifndef STAND_IN_CANN_HCCL_H
#define STAND_IN_CANN_HCCL_H

#include "acl/acl_base.h"
#include "hccl/hccl_types.h"

#endif  // STAND_IN_CANN_HCCL_H
