// Stand-in for CANN (see graph/types.h).
#ifndef STAND_IN_CANN_GRAPH_OPERATOR_REG_H
#define STAND_IN_CANN_GRAPH_OPERATOR_REG_H

#include <functional>
#include <memory>
#include <string>

#include "graph/tensor.h"

namespace ge {
// As large as CANN's class, since MindSpore's binaries hold objects of it. CANN's only virtual function is the
// destructor.
class Operator {
 public:
  Operator() = default;
  explicit Operator(const std::string &type);
  Operator(const std::string &name, const std::string &type);
  Operator(const AscendString &name, const AscendString &type);
  virtual ~Operator() = default;
  std::string GetName() const;
  void InputRegister(const std::string &name);
  void OptionalInputRegister(const std::string &name);
  void OutputRegister(const std::string &name);
  void RequiredAttrRegister(const std::string &name);
  void InferFuncRegister(const std::function<graphStatus(Operator &)> &function);

 private:
  std::shared_ptr<void> implementation_;
};

class OperatorFactory {
 public:
  static Operator CreateOperator(const char *name, const char *type);
  static Operator CreateOperator(const std::string &name, const std::string &type);
  static bool IsExistOp(const char *type);
  static bool IsExistOp(const std::string &type);
};
}  // namespace ge

#endif  // STAND_IN_CANN_GRAPH_OPERATOR_REG_H
