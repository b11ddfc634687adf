// Several servers on one machine: with STAND_IN_CANN_SERVERS=N the ranks see the boot ids of N servers, the first ranks
// the first id. Device memory passes between servers only by fabric handles (virtual_memory.cc).
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

extern "C" int stand_in_server();

namespace {

constexpr char kBootId[] = "/proc/sys/kernel/random/boot_id";

int Open(const char *name, const char *path, int flags, mode_t mode) {
  using Function = int (*)(const char *, int, ...);
  if (std::strcmp(path, kBootId) != 0 || std::getenv("STAND_IN_CANN_SERVERS") == nullptr) {
    return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name))(path, flags, mode);
  }
  char text[64];
  const int length = std::snprintf(text, sizeof(text), "00000000-0000-4000-8000-%012d\n", stand_in_server());
  const int file = memfd_create("boot_id", MFD_CLOEXEC);
  if (write(file, text, length) != length || lseek(file, 0, SEEK_SET) != 0) return -1;
  return file;
}

mode_t ModeOf(int flags, va_list arguments) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

}  // namespace

#define OPEN(name)                                                       \
  extern "C" int name(const char *path, int flags, ...) {                \
    va_list arguments;                                                   \
    va_start(arguments, flags);                                          \
    const int file = Open(#name, path, flags, ModeOf(flags, arguments)); \
    va_end(arguments);                                                   \
    return file;                                                         \
  }
OPEN(open)
OPEN(open64)
