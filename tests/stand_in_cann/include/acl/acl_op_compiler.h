// Stand-in for CANN: its compiler of single operators (see acl_base.h).
#ifndef STAND_IN_CANN_ACL_OP_COMPILER_H
#define STAND_IN_CANN_ACL_OP_COMPILER_H

#include "acl/acl_op.h"

typedef enum { ACL_COMPILE_SYS, ACL_COMPILE_UNREGISTERED } aclopCompileType;
typedef enum {
  ACL_PRECISION_MODE = 0,
  ACL_OP_DEBUG_LEVEL = 5,
  ACL_OP_COMPILER_CACHE_MODE = 7,
  ACL_OP_COMPILER_CACHE_DIR = 8,
  ACL_OP_JIT_COMPILE = 10,
  ACL_OP_DETERMINISTIC = 11,
  ACL_OP_PRECISION_MODE = 13
} aclCompileOpt;
typedef enum { ACL_OP_COMPILE_DEFAULT, ACL_OP_COMPILE_FUZZ } aclOpCompileFlag;
typedef struct aclGraphDumpOption aclGraphDumpOption;

#endif  // STAND_IN_CANN_ACL_OP_COMPILER_H
