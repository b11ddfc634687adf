// What happens when MindSpore calls a function of CANN that the stand-in has no own form of: allowed_traps.txt names
// those that may return 0 without having done anything; any other ends the process with its name.
#include <fnmatch.h>

#include "stand_in.h"

extern "C" {

extern const char *const stand_in_allowed_traps[];  // with nullptr at the end; from symbols.py

void stand_in_trap(const char *name) {
  for (const char *const *allowed = stand_in_allowed_traps; *allowed != nullptr; ++allowed) {
    if (fnmatch(*allowed, name, 0) == 0) return;
  }
  stand_in::Die("MindSpore called %s, for which there is no stand-in (README.md says what to do)", name);
}

// For libshmem, which is a library of its own.
void stand_in_add_device_memory(void *address, size_t bytes) { stand_in::AddDeviceMemory(address, bytes); }

}  // extern "C"
