#include "host/window_launch.h"

#include <string>
#include <thread>

namespace moe_comm {
namespace {

thread_local int g_calls = 0;  // CallingThread objects of this thread

// Lives as long as its thread.
const std::shared_ptr<const int> &ThreadToken() {
  static thread_local const std::shared_ptr<const int> token = std::make_shared<const int>(0);
  return token;
}

}  // namespace

CallingThread::CallingThread() { ++g_calls; }
CallingThread::~CallingThread() { --g_calls; }

WindowLaunch::WindowLaunch(const Argument &control, Step step, void *npu_stream, const char *op)
    : op_(op), step_(step), npu_stream_(npu_stream), on_cpu_(npu_stream == nullptr) {
  base_ = WindowOf(control.data, control.Bytes(), on_cpu_);
  window_ = base_ == nullptr ? nullptr : FindWindow(base_);
  if (window_ == nullptr) {
    throw std::invalid_argument("For '" + std::string(op) +
                                "', 'window_control' is not the control tensor of an "
                                "ExpertWindow, or its window was closed. Pass the control of an open window, or the "
                                "control output of the operator before" +
                                (on_cpu_ ? "." : "; on an NPU within the same graph, for a graph returns a copy."));
  }
  if (Window().on_npu == on_cpu_) {
    throw std::invalid_argument("For '" + std::string(op) + "', the window lies in memory of the " +
                                (on_cpu_ ? "NPU, but the operator runs on the CPU"
                                         : "CPU, but the operator runs on the NPU") +
                                ". Set the device before the window is created.");
  }
  if (on_cpu_) Begin();
}

void WindowLaunch::Begin() {
  if (window_->busy.exchange(true)) {
    throw std::runtime_error(Where(op_, Window()) +
                             " is refused: another thread runs an operator on this window. A "
                             "window serves one thread at a time: give each thread a window of its own.");
  }
  try {
    CheckThread();
    CheckUsable(base_, *window_, op_);
  } catch (...) {
    window_->busy.store(false);
    throw;
  }
  if (g_calls > 0) window_->step_of = ThreadToken();
  interruptible_.emplace();
  start_ = std::chrono::steady_clock::now();
}

// From a dispatch to its combine the window belongs to one thread, as long as that thread lives.
void WindowLaunch::CheckThread() const {
  constexpr int kLooks = 100;  // a thread that Python has joined takes a moment more to end
  for (int look = 0; look < kLooks; ++look) {
    const std::shared_ptr<const int> owner = window_->step_of.lock();
    if (g_calls == 0 || owner == nullptr || owner == ThreadToken()) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  throw std::runtime_error(Where(op_, Window()) +
                           " is refused: another thread has dispatched on this window and not "
                           "combined yet. A window serves one thread at a time: combine there first, or give each "
                           "thread a window of its own.");
}

WindowLaunch::~WindowLaunch() {
  if (!on_cpu_ || window_ == nullptr) return;
  if (step_ == kCombine || !finished_) window_->step_of.reset();
  window_->busy.store(false);
}

void WindowLaunch::Finish() {
  const auto spent = std::chrono::steady_clock::now() - start_;
  uint64_t *calls = reinterpret_cast<uint64_t *>(base_) + (step_ == kDispatch ? kDispatchCalls : kCombineCalls);
  calls[0] += 1;
  calls[1] += std::chrono::duration_cast<std::chrono::nanoseconds>(spent).count();
  const bool interrupted = interruptible_->Happened() && MarkInterrupted(base_, Window());
  const std::string error = TakeError(base_, op_);
  if (interrupted) throw InterruptedError(error);
  if (!error.empty()) throw std::runtime_error(error);
  finished_ = true;
}

}  // namespace moe_comm
