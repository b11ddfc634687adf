#include "checks/checker.h"

#include <algorithm>

namespace moe_comm {

std::string Checker::Subject(size_t argument) const { return "'" + std::string(names_[argument]) + "'"; }

void Checker::Fail(const std::string &message) const {
  throw std::invalid_argument("For '" + std::string(op_) + "', " + message);
}

void Checker::FailType(const std::string &message) const {
  throw WrongType("For '" + std::string(op_) + "', " + message);
}

void Checker::Dtype(size_t argument, const std::vector<DataType> &allowed) const {
  const Argument &given = arguments_[argument];
  if (std::find(allowed.begin(), allowed.end(), given.dtype) != allowed.end()) return;
  std::string names;
  for (size_t i = 0; i < allowed.size(); ++i) names += (i ? ", " : "") + std::string(Name(allowed[i]));
  FailType("the dtype of " + Subject(argument) + " must be " + (allowed.size() > 1 ? "one of " : "") + names +
           ", but got " + given.dtype_name + ".");
}

void Checker::SameDtype(size_t argument, size_t other) const {
  if (arguments_[argument].dtype == arguments_[other].dtype) return;
  FailType(Subject(argument) + " and " + Subject(other) + " must have the same dtype, but got " +
           arguments_[argument].dtype_name + " and " + arguments_[other].dtype_name + ".");
}

void Checker::Rank(size_t argument, size_t rank) const {
  const Shape &shape = arguments_[argument].shape;
  if (shape.size() == rank) return;
  Fail(Subject(argument) + " must have " + std::to_string(rank) + " dimensions, but its shape is " + ToString(shape) +
       ".");
}

void Checker::Dimension(size_t argument, size_t dimension, int64_t expected, const char *what) const {
  const Shape &shape = arguments_[argument].shape;
  const int64_t actual = shape[dimension];
  if (actual == expected || actual == kUnknown || expected == kUnknown) return;
  Fail("dimension " + std::to_string(dimension) + " of " + Subject(argument) + " must be " + what + " = " +
       std::to_string(expected) + ", but its shape is " + ToString(shape) + ".");
}

void Checker::ScalarOneOf(size_t argument, const std::vector<int64_t> &allowed) const {
  const int64_t given = arguments_[argument].scalar;
  if (std::find(allowed.begin(), allowed.end(), given) != allowed.end()) return;
  std::string values;
  for (size_t i = 0; i < allowed.size(); ++i) values += (i ? " or " : "") + std::to_string(allowed[i]);
  Fail(Subject(argument) + " must be " + values + ", but got " + std::to_string(given) + ".");
}

}  // namespace moe_comm
