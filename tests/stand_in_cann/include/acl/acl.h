// Stand-in for CANN (see acl_base.h). For setup.py this file shows that CANN is installed.
#ifndef STAND_IN_CANN_ACL_H
#define STAND_IN_CANN_ACL_H

#include "acl/acl_mdl.h"
#include "acl/acl_op.h"
#include "acl/acl_rt.h"

extern "C" {
aclError aclInit(const char *config);
aclError aclFinalize();
}

#endif  // STAND_IN_CANN_ACL_H
