#include "host/ascend_part.h"

#include <dlfcn.h>
#include <unistd.h>

#include <stdexcept>
#include <string>

#include "host/operators.h"

namespace moe_comm {
namespace {

// The path of _lib.so, with the other's name in it.
std::string Path() {
  Dl_info self;
  if (dladdr(reinterpret_cast<void *>(&Path), &self) == 0) throw std::runtime_error("dladdr failed");
  std::string path = self.dli_fname;
  return path.replace(path.rfind("/_lib.") + 1, sizeof("_lib.") - 1, "_ascend.");
}

const AscendPart *Load() {
  const std::string path = Path();
  if (access(path.c_str(), F_OK) != 0) {
    throw std::runtime_error("ms_moe_comm was built without CANN: set ASCEND_HOME_PATH (source CANN's set_env.sh) and "
                             "install it again.");
  }
  void *const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  void *const attach = library == nullptr ? nullptr : dlsym(library, kAttachAscend);
  if (attach == nullptr) {
    throw std::runtime_error("the Ascend part of ms_moe_comm cannot be loaded: " + std::string(dlerror()) +
                             ". Source CANN's set_env.sh and use the MindSpore that the package was built with; or "
                             "install the package again.");
  }
  return reinterpret_cast<AttachAscend>(attach)(AllOperators());
}

}  // namespace

const AscendPart &Ascend() {
  static const AscendPart *const part = Load();
  return *part;
}

}  // namespace moe_comm
