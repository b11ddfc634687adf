// Ctrl-C while an operator waits for its peers. Python handles a signal only after the call has returned, so the wait
// must end. The kernels see a deadline that has passed.
#ifndef MOE_COMM_HOST_INTERRUPT_H
#define MOE_COMM_HOST_INTERRUPT_H

#include <stdexcept>

namespace moe_comm {

struct InterruptedError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// While an object lives, SIGINT ends the waits of this process's kernels. Only the first long wait sets a handler, in
// front of the process's own; until then it costs nothing.
class Interruptible {
 public:
  Interruptible();
  ~Interruptible();
  Interruptible(const Interruptible &) = delete;
  Interruptible &operator=(const Interruptible &) = delete;

  bool Happened() const;
};

}  // namespace moe_comm

#endif  // MOE_COMM_HOST_INTERRUPT_H
