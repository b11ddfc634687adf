// How the Ascend part calls CANN: no code that a call returns is passed over.
#ifndef MOE_COMM_ASCEND_ACL_CALL_H
#define MOE_COMM_ASCEND_ACL_CALL_H

#include <stdexcept>
#include <string>

#include "acl/acl.h"

namespace moe_comm::npu {

// Throws with the name of the call, CANN's code and its words.
inline void Check(aclError code, const std::string &what) {
  if (code == ACL_SUCCESS) return;
  const char *message = aclGetRecentErrMsg();
  throw std::runtime_error(what + " failed with ACL error " + std::to_string(code) +
                           (message == nullptr ? "" : ": " + std::string(message)));
}

}  // namespace moe_comm::npu

#endif  // MOE_COMM_ASCEND_ACL_CALL_H
