// Checks of arguments.
#ifndef MOE_COMM_CHECKS_CHECKER_H
#define MOE_COMM_CHECKS_CHECKER_H

#include <string>
#include <vector>

#include "host/operator.h"

namespace moe_comm {

// Checks with messages in the operator's own terms. Unknown dimensions pass; launch checks again.
class Checker {
 public:
  Checker(const char *op, const Arguments &arguments, const char *const *names)
      : op_(op), arguments_(arguments), names_(names) {}

  void Dtype(size_t argument, const std::vector<DataType> &allowed) const;
  void SameDtype(size_t argument, size_t other) const;
  void Rank(size_t argument, size_t rank) const;
  // `what` names the dimension: T, K, H ...
  void Dimension(size_t argument, size_t dimension, int64_t expected, const char *what) const;
  void ScalarOneOf(size_t argument, const std::vector<int64_t> &allowed) const;
  [[noreturn]] void Fail(const std::string &message) const;      // ValueError
  [[noreturn]] void FailType(const std::string &message) const;  // TypeError
  std::string NameOf(size_t argument) const { return names_[argument]; }
  const Argument &operator[](size_t argument) const { return arguments_[argument]; }

 private:
  std::string Subject(size_t argument) const;
  const char *op_;
  const Arguments &arguments_;
  const char *const *names_;
};

}  // namespace moe_comm

#endif  // MOE_COMM_CHECKS_CHECKER_H
