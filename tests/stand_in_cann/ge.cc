// libge_runner, libgraph: the parts of the graph engine that MindSpore uses when it starts. No graph runs through it.
#include <cstdint>
#include <map>
#include <string>

#include "graph/operator_reg.h"

namespace ge {

// A registry of error texts. MindSpore's static initialisers add to it.
class StatusFactory {
 public:
  static StatusFactory *Instance();

 private:
  std::map<uint32_t, std::string> texts_;
  char rest_[4096] = {};  // the real one may be larger
};

StatusFactory *StatusFactory::Instance() {
  static StatusFactory factory;
  return &factory;
}

// MindSpore asks for an operator's types with an empty object of this class.
Operator::Operator(const std::string &) {}
Operator::Operator(const std::string &, const std::string &) {}
Operator::Operator(const AscendString &, const AscendString &) {}
std::string Operator::GetName() const { return ""; }
Operator OperatorFactory::CreateOperator(const char *, const char *) { return {}; }
Operator OperatorFactory::CreateOperator(const std::string &, const std::string &) { return {}; }
bool OperatorFactory::IsExistOp(const char *) { return true; }
bool OperatorFactory::IsExistOp(const std::string &) { return true; }

}  // namespace ge
