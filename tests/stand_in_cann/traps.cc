// What happens when MindSpore calls a function of CANN that the stand-in does not implement. Functions that
// allowed_traps.txt names do nothing and return 0; any other prints its name and ends the process.
#include <fnmatch.h>

#include "stand_in.h"

extern "C" {

extern const char *const stand_in_allowed_traps[];  // from symbols.py; the last is nullptr

void stand_in_trap(const char *name) {
  for (const char *const *allowed = stand_in_allowed_traps; *allowed != nullptr; ++allowed) {
    if (fnmatch(*allowed, name, 0) == 0) return;
  }
  stand_in::Die("MindSpore called %s, for which there is no stand-in (README.md says what to do)", name);
}

// For libshmem, which is a separate library.
void stand_in_add_device_memory(void *address, size_t bytes) { stand_in::AddDeviceMemory(address, bytes); }

}  // extern "C"
