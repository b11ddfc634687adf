// libascendcl: events.
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "stand_in.h"

namespace {

// What one call of aclrtRecordEvent queues: it is reached when its stream comes to it.
struct Mark {
  std::mutex mutex;
  std::condition_variable changed;
  bool reached = false;
  uint64_t microseconds = 0;
  std::shared_ptr<stand_in::Capture> capture;  // the capture that recorded it

  void Reach() {
    std::lock_guard<std::mutex> lock(mutex);
    reached = true;
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    microseconds = std::chrono::duration_cast<std::chrono::microseconds>(now).count();
    changed.notify_all();
  }
  void Wait() {
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, [this] { return reached; });
  }
};

struct Event {
  std::mutex mutex;
  std::shared_ptr<Mark> mark;

  std::shared_ptr<Mark> Last() {
    std::lock_guard<std::mutex> lock(mutex);
    return mark;
  }
};

std::shared_ptr<Mark> Last(aclrtEvent event) { return static_cast<Event *>(event)->Last(); }

}  // namespace

extern "C" {

aclError aclrtCreateEvent(aclrtEvent *event) {
  *event = new Event;
  return ACL_SUCCESS;
}
aclError aclrtCreateEventWithFlag(aclrtEvent *event, uint32_t) { return aclrtCreateEvent(event); }
aclError aclrtCreateEventExWithFlag(aclrtEvent *event, uint32_t) { return aclrtCreateEvent(event); }
aclError aclrtDestroyEvent(aclrtEvent event) {
  delete static_cast<Event *>(event);
  return ACL_SUCCESS;
}
aclError aclrtResetEvent(aclrtEvent, aclrtStream) { return ACL_SUCCESS; }

aclError aclrtRecordEvent(aclrtEvent handle, aclrtStream stream) {
  auto *const event = static_cast<Event *>(handle);
  const auto mark = std::make_shared<Mark>();
  mark->capture = stand_in::CaptureOf(stream);
  {
    std::lock_guard<std::mutex> lock(event->mutex);
    event->mark = mark;
  }
  stand_in::Enqueue(stream, "event", [mark] { mark->Reach(); });
  return ACL_SUCCESS;
}
// Tasks of a capture run one after the other, in the order in which they were queued, so a wait does nothing there.
aclError aclrtStreamWaitEvent(aclrtStream stream, aclrtEvent event) {
  const auto mark = Last(event);
  if (mark == nullptr) return ACL_SUCCESS;
  if (mark->capture != nullptr) {
    stand_in::JoinCapture(stream, mark->capture);
    return ACL_SUCCESS;
  }
  stand_in::Enqueue(stream, "wait for an event", [mark] { mark->Wait(); });
  return ACL_SUCCESS;
}
aclError aclrtSynchronizeEvent(aclrtEvent event) {
  if (const auto mark = Last(event)) mark->Wait();
  return ACL_SUCCESS;
}
aclError aclrtQueryEventStatus(aclrtEvent event, aclrtEventRecordedStatus *status) {
  const auto mark = Last(event);
  bool reached = true;
  if (mark != nullptr) {
    std::lock_guard<std::mutex> lock(mark->mutex);
    reached = mark->reached;
  }
  *status = reached ? ACL_EVENT_RECORDED_STATUS_COMPLETE : ACL_EVENT_RECORDED_STATUS_NOT_READY;
  return ACL_SUCCESS;
}
aclError aclrtEventGetTimestamp(aclrtEvent event, uint64_t *microseconds) {
  const auto mark = Last(event);
  *microseconds = mark == nullptr ? 0 : mark->microseconds;
  return ACL_SUCCESS;
}
aclError aclrtEventElapsedTime(float *milliseconds, aclrtEvent start, aclrtEvent end) {
  uint64_t from = 0, to = 0;
  (void)aclrtEventGetTimestamp(start, &from);
  (void)aclrtEventGetTimestamp(end, &to);
  *milliseconds = static_cast<float>(to - from) / 1000;
  return ACL_SUCCESS;
}

}  // extern "C"
