// A function with a stack of its own, run a piece at a time by one scheduler.
#ifndef MOE_COMM_HOST_TWIN_CHECK_FIBER_H
#define MOE_COMM_HOST_TWIN_CHECK_FIBER_H

#include <setjmp.h>
#include <ucontext.h>

#include <functional>
#include <memory>

namespace AscendC::backend {

class Fiber {
 public:
  explicit Fiber(std::function<void()> body) : body_(std::move(body)), stack_(new char[kStackBytes]) {
    getcontext(&context_);
    context_.uc_stack.ss_sp = stack_.get();
    context_.uc_stack.ss_size = kStackBytes;
    context_.uc_link = nullptr;
    makecontext(&context_, &Fiber::Enter, 0);
  }

  bool Finished() const { return finished_; }
  static Fiber *Current() { return current_; }

  // Called by the scheduler: runs the fiber until it leaves or ends.
  __attribute__((noinline)) void Resume() {
    current_ = this;
    if (_setjmp(scheduler_) == 0) {
      if (started_) _longjmp(here_, 1);
      started_ = true;
      setcontext(&context_);  // only at the start: it costs a system call, a jump does not
    }
    current_ = nullptr;
  }

  // Called in the fiber: returns to the scheduler.
  __attribute__((noinline)) void Leave() {
    if (_setjmp(here_) == 0) _longjmp(scheduler_, 1);
  }

 private:
  static constexpr size_t kStackBytes = 256 * 1024;

  static void Enter() {
    Fiber *self = current_;
    self->body_();
    self->finished_ = true;
    self->Leave();
  }

  static inline Fiber *current_ = nullptr;
  static inline jmp_buf scheduler_;
  std::function<void()> body_;
  std::unique_ptr<char[]> stack_;
  ucontext_t context_;
  jmp_buf here_;
  bool started_ = false;
  bool finished_ = false;
};

}  // namespace AscendC::backend

#endif  // MOE_COMM_HOST_TWIN_CHECK_FIBER_H
