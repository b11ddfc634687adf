// Stand-in for CANN: attributes of operators that CANN compiles (see acl_base.h).
#ifndef STAND_IN_CANN_ACL_OP_H
#define STAND_IN_CANN_ACL_OP_H

#include "acl/acl_rt.h"

typedef struct aclopAttr aclopAttr;
typedef enum { ACL_ENGINE_SYS, ACL_ENGINE_AICORE, ACL_ENGINE_VECTOR } aclopEngineType;

#endif  // STAND_IN_CANN_ACL_OP_H
