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
  kGuarded,      // as kSynchronous, and the host can touch device memory only within a call of the stand-in
};
Mode TheMode();

// One line in the file that STAND_IN_CANN_LOG names, if it does.
void Say(const char *format, ...) __attribute__((format(printf, 1, 2)));
// One line on stderr; ends the process.
[[noreturn]] void Die(const char *format, ...) __attribute__((format(printf, 1, 2)));
// Returns the code, and keeps the line for aclGetRecentErrMsg.
aclError Fail(aclError code, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Device memory can be touched while one of these lives (always, unless the mode is kGuarded).
class Access {
 public:
  Access();
  ~Access();
  Access(const Access &) = delete;
  Access &operator=(const Access &) = delete;
};
// Device memory begins and ends to exist.
void AddDeviceMemory(void *address, size_t bytes);
void RemoveDeviceMemory(void *address);
bool IsPinned(const void *address);  // host memory of aclrtMallocHost

// Work of a device: what it needs it holds by value, since it may run late and, captured, more than once.
using Task = std::function<void()>;
// nullptr: at once. A task that throws stops its stream: the next call that waits for it returns an error.
void Enqueue(aclrtStream stream, const char *name, Task task);
aclError Drain(aclrtStream stream);
aclError DrainAll();

struct Capture {
  aclmdlRICaptureMode mode;
  uint64_t thread;
  std::vector<Task> tasks;
};
std::shared_ptr<Capture> CaptureOf(aclrtStream stream);
// An event recorded in a capture and waited for on another stream takes that stream into the capture.
void JoinCapture(aclrtStream stream, const std::shared_ptr<Capture> &capture);
// ACL_SUCCESS unless a capture forbids this call, which is none that can be captured.
aclError CheckNotCaptured(const char *call);

uint64_t ThisThread();
uint64_t SyncAddress();  // what a kernel gets as its first argument

}  // namespace stand_in

#endif  // STAND_IN_CANN_H
