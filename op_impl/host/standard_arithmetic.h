// The arithmetic that the operators are specified in, on any thread.
#ifndef MOE_COMM_HOST_STANDARD_ARITHMETIC_H
#define MOE_COMM_HOST_STANDARD_ARITHMETIC_H

#include <cfenv>

namespace moe_comm {

// While an object lives, denormals are kept and rounding is half to even. MindSpore's threads for graph mode flush
// denormals to zero. Threads that start meanwhile inherit the setting.
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
