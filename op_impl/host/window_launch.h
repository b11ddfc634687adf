// One launch on an expert window: finds the window from the argument `window_control`, and raises the kernel's error.
#ifndef MOE_COMM_HOST_WINDOW_LAUNCH_H
#define MOE_COMM_HOST_WINDOW_LAUNCH_H

#include <chrono>
#include <memory>
#include <optional>

#include "host/interrupt.h"
#include "host/launch.h"
#include "host/operator.h"
#include "host/window_host.h"

namespace moe_comm {

// While an object lives, launches on this thread are calls of the user's thread (PyNative) and not of a thread of the
// framework (graph mode). Then a dispatch and its combine must come from one thread.
class CallingThread {
 public:
  CallingThread();
  ~CallingThread();
  CallingThread(const CallingThread &) = delete;
  CallingThread &operator=(const CallingThread &) = delete;
};

class WindowLaunch {
 public:
  enum Step { kDispatch, kCombine };

  // `control`: the control tensor of an open window; on the CPU also a copy of it, as a graph returns it. `npu_stream`:
  // nullptr for the CPU. Throws std::invalid_argument if there is no such window. On the CPU it throws
  // std::runtime_error if an error has ended the window's use, or if another thread uses the window.
  WindowLaunch(const Argument &control, Step step, void *npu_stream, const char *op);
  ~WindowLaunch();
  WindowLaunch(const WindowLaunch &) = delete;
  WindowLaunch &operator=(const WindowLaunch &) = delete;

  const WindowInfo &Window() const { return window_->info; }
  uint8_t *Base() const { return base_; }

  // Launches the kernel of these arguments. On the CPU it throws the error that the kernel left in the window, and adds
  // the launch and its time to the window's header. On an NPU the kernel has not run yet: ExpertWindow.check raises the
  // error, and the framework's profiler times kernels.
  template <typename KernelArguments>
  void Run(const KernelArguments &arguments) {
    LaunchKernel(npu_stream_, Window().blocks, arguments);
    if (on_cpu_) Finish();
  }

 private:
  void Begin();
  void Finish();
  void CheckThread() const;

  const char *op_;
  Step step_;
  void *npu_stream_;
  bool on_cpu_;
  uint8_t *base_ = nullptr;
  std::shared_ptr<OpenWindow> window_;
  std::optional<Interruptible> interruptible_;
  bool finished_ = false;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace moe_comm

#endif  // MOE_COMM_HOST_WINDOW_LAUNCH_H
