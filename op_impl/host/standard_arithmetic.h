// The arithmetic that the operators are specified in, on whatever thread they are called.
#ifndef MOE_COMM_HOST_STANDARD_ARITHMETIC_H
#define MOE_COMM_HOST_STANDARD_ARITHMETIC_H

#include <cfenv>

namespace moe_comm {

// While it lives: denormals count, and rounding is half to even. MindSpore's threads for graph mode take denormals for
// zero. Threads that are started meanwhile inherit it.
class StandardArithmetic {
 public:
  StandardArithmetic() {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~StandardArithmetic() { std::fesetenv(&saved_); }
  StandardArithmetic(const StandardArithmetic &) = delete;
  StandardArithmetic &operator=(const StandardArithmetic &) = delete;

 private:
  std::fenv_t saved_;
};

}  // namespace moe_comm

#endif  // MOE_COMM_HOST_STANDARD_ARITHMETIC_H
