// What the files of the stand-in share: its mode, streams, access to device memory, errors.
#ifndef STAND_IN_CANN_H
#define STAND_IN_CANN_H

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "acl/acl.h"

namespace stand_in {

// STAND_IN_CANN_MODE
enum class Mode {
  kSynchronous,  // a task runs in the call that queues it
  kLate,         // a thread of the stream runs it, some time later
  kGuarded,      // as kSynchronous, but the host can touch device memory only within a call of the stand-in
};
Mode TheMode();

// Writes a line to the file that STAND_IN_CANN_LOG names, if it is set.
void Say(const char *format, ...) __attribute__((format(printf, 1, 2)));
// Writes a line to stderr and ends the process.
[[noreturn]] void Die(const char *format, ...) __attribute__((format(printf, 1, 2)));
// Returns the code, and keeps the line for aclGetRecentErrMsg.
aclError Fail(aclError code, const char *format, ...) __attribute__((format(printf, 2, 3)));

// The host can touch device memory while an object of this class lives (always, unless the mode is kGuarded).
class Access {
 public:
  Access();
  ~Access();
  Access(const Access &) = delete;
  Access &operator=(const Access &) = delete;
};
// Called when device memory is made, and before it is freed.
void AddDeviceMemory(void *address, size_t bytes);
void RemoveDeviceMemory(void *address);
bool IsPinned(const void *address);  // host memory of aclrtMallocHost

// Work of a device. It holds all that it needs by value, since it may run late and, if captured, more than once.
using Task = std::function<void()>;
// nullptr: runs at once. A task that throws stops its stream: the next call that waits for the stream returns an error.
void Enqueue(aclrtStream stream, const char *name, Task task);
aclError Drain(aclrtStream stream);
aclError DrainAll();

struct Capture {
  aclmdlRICaptureMode mode;
  uint64_t thread;
  std::vector<Task> tasks;
};
std::shared_ptr<Capture> CaptureOf(aclrtStream stream);
// If another stream waits for an event that was recorded in a capture, this takes the stream into the capture.
void JoinCapture(aclrtStream stream, const std::shared_ptr<Capture> &capture);
// For a call that cannot be captured: ACL_SUCCESS unless a capture forbids it.
aclError CheckNotCaptured(const char *call);

uint64_t ThisThread();
uint64_t SyncAddress();  // a kernel's first argument

}  // namespace stand_in

#endif  // STAND_IN_CANN_H
