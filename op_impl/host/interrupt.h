// Ctrl-C while an operator waits for its peers. Python hears of a signal only once the call has returned, so the wait
// must end: for the kernels it is as if its deadline had passed.
#ifndef MOE_COMM_HOST_INTERRUPT_H
#define MOE_COMM_HOST_INTERRUPT_H

#include <stdexcept>

namespace moe_comm {

struct InterruptedError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// While one lives, SIGINT ends the waits of this process' kernels. Before the first wait that is long enough for anyone
// to notice it costs nothing: only then a handler is set, in front of that of the process.
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
