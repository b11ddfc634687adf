// libascendcl: streams. A task runs in the call that queues it, or, in mode "late", on a thread of its stream after a
// pause whose length a seed decides (STAND_IN_CANN_SEED).
#include <unistd.h>

#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <exception>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include "stand_in.h"

namespace stand_in {
namespace {

constexpr uint32_t kLongestPauseMicroseconds = 1000;

struct Work {
  const char *name;
  Task task;
};

struct Stream {
  uint32_t id = 0;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Work> queue;
  bool running = false;
  bool has_thread = false;
  bool ended = false;
  std::string failure;  // error of the first task that threw; no task runs after it
  std::shared_ptr<Capture> capture;
};

std::mutex g_mutex;
std::set<Stream *> &g_streams = *new std::set<Stream *>;  // never destroyed: MindSpore ends after static destruction
int g_captures = 0;                                       // in progress

Stream *NewStream() {
  static uint32_t streams = 0;
  auto *const stream = new Stream;
  std::lock_guard<std::mutex> lock(g_mutex);
  stream->id = ++streams;
  g_streams.insert(stream);
  return stream;
}

std::string Run(const Work &work) {
  try {
    Access access;
    work.task();
    return "";
  } catch (const std::exception &error) {
    return std::string(work.name) + ": " + error.what();
  }
}

void Serve(Stream *stream) {
  const char *const seed = std::getenv("STAND_IN_CANN_SEED");
  std::minstd_rand random((seed == nullptr ? 1 : std::atoi(seed)) * 1000 + stream->id);
  std::unique_lock<std::mutex> lock(stream->mutex);
  for (;;) {
    stream->changed.wait(lock, [&] { return !stream->queue.empty() || stream->ended; });
    if (stream->queue.empty()) return;
    const Work work = std::move(stream->queue.front());
    stream->queue.pop_front();
    stream->running = true;
    const bool skip = !stream->failure.empty();
    lock.unlock();
    usleep(random() % kLongestPauseMicroseconds);
    std::string failure = skip ? "" : Run(work);
    lock.lock();
    if (!failure.empty()) stream->failure = std::move(failure);
    stream->running = false;
    stream->changed.notify_all();
  }
}

aclError Report(Stream *stream) {
  if (stream->failure.empty()) return ACL_SUCCESS;
  return Fail(ACL_ERROR_RT_AICORE_EXCEPTION, "%s", stream->failure.c_str());
}

}  // namespace

void Enqueue(aclrtStream handle, const char *name, Task task) {
  static Stream *const without = NewStream();  // for calls without a stream
  Stream *const stream = handle == nullptr ? without : static_cast<Stream *>(handle);
  std::unique_lock<std::mutex> lock(stream->mutex);
  if (stream->capture != nullptr) {
    stream->capture->tasks.push_back(std::move(task));
    return;
  }
  if (TheMode() == Mode::kLate && handle != nullptr) {
    if (!stream->has_thread) {
      stream->has_thread = true;
      std::thread(Serve, stream).detach();
    }
    stream->queue.push_back({name, std::move(task)});
    stream->changed.notify_all();
    return;
  }
  stream->changed.wait(lock, [&] { return !stream->running; });  // a task of another thread
  if (!stream->failure.empty()) return;
  stream->running = true;
  lock.unlock();
  std::string failure = Run({name, std::move(task)});
  lock.lock();
  stream->failure = std::move(failure);
  stream->running = false;
  stream->changed.notify_all();
}

aclError Drain(aclrtStream handle) {
  if (handle == nullptr) return ACL_SUCCESS;
  auto *const stream = static_cast<Stream *>(handle);
  std::unique_lock<std::mutex> lock(stream->mutex);
  if (stream->capture != nullptr) return Fail(ACL_ERROR_RT_STREAM_CAPTURED, "a wait for a stream in a capture");
  stream->changed.wait(lock, [&] { return stream->queue.empty() && !stream->running; });
  return Report(stream);
}

aclError DrainAll() {
  std::set<Stream *> streams;
  {
    std::lock_guard<std::mutex> lock(g_mutex);
    streams = g_streams;
  }
  aclError result = ACL_SUCCESS;
  for (Stream *const stream : streams) {
    std::unique_lock<std::mutex> lock(stream->mutex);
    if (stream->capture != nullptr) continue;
    stream->changed.wait(lock, [&] { return stream->queue.empty() && !stream->running; });
    if (const aclError code = Report(stream)) result = code;
  }
  return result;
}

std::shared_ptr<Capture> CaptureOf(aclrtStream handle) {
  if (handle == nullptr) return nullptr;
  auto *const stream = static_cast<Stream *>(handle);
  std::lock_guard<std::mutex> lock(stream->mutex);
  return stream->capture;
}

void JoinCapture(aclrtStream handle, const std::shared_ptr<Capture> &capture) {
  auto *const stream = static_cast<Stream *>(handle);
  std::lock_guard<std::mutex> lock(stream->mutex);
  stream->capture = capture;
}

aclError CheckNotCaptured(const char *call) {
  std::lock_guard<std::mutex> lock(g_mutex);
  if (g_captures == 0) return ACL_SUCCESS;
  for (Stream *const stream : g_streams) {
    std::lock_guard<std::mutex> stream_lock(stream->mutex);
    if (stream->capture == nullptr || stream->capture->mode == ACL_MODEL_RI_CAPTURE_MODE_RELAXED) continue;
    if (stream->capture->mode == ACL_MODEL_RI_CAPTURE_MODE_THREAD_LOCAL && stream->capture->thread != ThisThread()) {
      continue;
    }
    return Fail(ACL_ERROR_RT_STREAM_CAPTURED, "%s while a stream is captured", call);
  }
  return ACL_SUCCESS;
}

}  // namespace stand_in

using stand_in::Fail;
using stand_in::Stream;

extern "C" {

aclError aclrtCreateStream(aclrtStream *stream) {
  *stream = stand_in::NewStream();
  return ACL_SUCCESS;
}
aclError aclrtCreateStreamWithConfig(aclrtStream *stream, uint32_t, uint32_t) { return aclrtCreateStream(stream); }
aclError aclrtDestroyStream(aclrtStream handle) {
  const aclError code = stand_in::Drain(handle);
  auto *const stream = static_cast<Stream *>(handle);
  {
    std::lock_guard<std::mutex> lock(stand_in::g_mutex);
    stand_in::g_streams.erase(stream);
  }
  std::lock_guard<std::mutex> lock(stream->mutex);
  stream->ended = true;  // its thread ends; the object stays for its holders
  stream->changed.notify_all();
  return code;
}
aclError aclrtDestroyStreamForce(aclrtStream stream) { return aclrtDestroyStream(stream); }
aclError aclrtSetStreamFailureMode(aclrtStream, uint64_t) { return ACL_SUCCESS; }
aclError aclrtDeviceGetStreamPriorityRange(int32_t *least, int32_t *greatest) {
  *least = 7;
  *greatest = 0;
  return ACL_SUCCESS;
}
aclError aclrtStreamGetId(aclrtStream stream, int32_t *id) {
  *id = static_cast<int32_t>(static_cast<Stream *>(stream)->id);
  return ACL_SUCCESS;
}
aclError aclrtStreamQuery(aclrtStream handle, aclrtStreamStatus *status) {
  auto *const stream = static_cast<Stream *>(handle);
  std::lock_guard<std::mutex> lock(stream->mutex);
  const bool done = stream->queue.empty() && !stream->running;
  *status = done ? ACL_STREAM_STATUS_COMPLETE : ACL_STREAM_STATUS_NOT_READY;
  return ACL_SUCCESS;
}
aclError aclrtSynchronizeStream(aclrtStream stream) { return stand_in::Drain(stream); }
aclError aclrtSynchronizeStreamWithTimeout(aclrtStream stream, int32_t) { return stand_in::Drain(stream); }
aclError aclrtSynchronizeDevice() { return stand_in::DrainAll(); }
aclError aclrtSynchronizeDeviceWithTimeout(int32_t) { return stand_in::DrainAll(); }
aclError aclrtLaunchCallback(aclrtCallback function, void *user_data, aclrtCallbackBlockType, aclrtStream stream) {
  stand_in::Enqueue(stream, "callback", [=] { function(user_data); });
  return ACL_SUCCESS;
}
aclError aclrtSubscribeReport(uint64_t, aclrtStream) { return ACL_SUCCESS; }  // callbacks run on the stream's thread
aclError aclrtProcessReport(int32_t milliseconds) {
  constexpr int32_t kLongest = 50;
  usleep(1000 * (milliseconds < 0 || milliseconds > kLongest ? kLongest : milliseconds));
  return ACL_SUCCESS;
}

// Capture and replay.
aclError aclmdlRICaptureBegin(aclrtStream handle, aclmdlRICaptureMode mode) {
  auto *const stream = static_cast<Stream *>(handle);
  std::lock_guard<std::mutex> lock(stand_in::g_mutex);
  std::lock_guard<std::mutex> stream_lock(stream->mutex);
  if (stream->capture != nullptr) return Fail(ACL_ERROR_RT_STREAM_CAPTURED, "the stream is captured already");
  stream->capture = std::make_shared<stand_in::Capture>();
  stream->capture->mode = mode;
  stream->capture->thread = stand_in::ThisThread();
  ++stand_in::g_captures;
  return ACL_SUCCESS;
}
aclError aclmdlRICaptureGetInfo(aclrtStream handle, aclmdlRICaptureStatus *status, aclmdlRI *model) {
  const auto capture = stand_in::CaptureOf(handle);
  *status = capture == nullptr ? ACL_MODEL_RI_CAPTURE_STATUS_NONE : ACL_MODEL_RI_CAPTURE_STATUS_ACTIVE;
  *model = capture.get();
  return ACL_SUCCESS;
}
aclError aclmdlRICaptureEnd(aclrtStream handle, aclmdlRI *model) {
  const auto capture = stand_in::CaptureOf(handle);
  if (capture == nullptr) return Fail(ACL_ERROR_RT_PARAM_INVALID, "the stream is not captured");
  std::lock_guard<std::mutex> lock(stand_in::g_mutex);
  for (Stream *const stream : stand_in::g_streams) {
    std::lock_guard<std::mutex> stream_lock(stream->mutex);
    if (stream->capture == capture) stream->capture = nullptr;
  }
  --stand_in::g_captures;
  stand_in::Say("captured %zu tasks", capture->tasks.size());
  *model = new std::vector<stand_in::Task>(capture->tasks);
  return ACL_SUCCESS;
}
aclError aclmdlRIExecuteAsync(aclmdlRI model, aclrtStream stream) {
  const auto &tasks = *static_cast<std::vector<stand_in::Task> *>(model);
  stand_in::Say("replay of %zu tasks", tasks.size());
  for (const auto &task : tasks) stand_in::Enqueue(stream, "replay", task);
  return ACL_SUCCESS;
}
aclError aclmdlRIDestroy(aclmdlRI model) {
  delete static_cast<std::vector<stand_in::Task> *>(model);
  return ACL_SUCCESS;
}

}  // extern "C"
