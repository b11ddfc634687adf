// PyNative: MindSpore runs its operators some time after their call, on threads of its own. On an NPU ours are queued
// behind them. On a CPU ours run in their call, as soon as all earlier operators have run. So an error comes out of the
// call that caused it, and nothing runs after an operator that failed.
#include "mindspore/pynative.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "host/ascend_part.h"
#include "host/window_launch.h"
#include "include/frontend/jit/trace/trace_recorder_interface.h"
#include "include/runtime/pipeline/pipeline.h"
#include "include/utils/pynative/grad_state.h"
#include "mindspore/framework.h"

namespace moe_comm {
namespace {

// One call: tensors and ints as they were passed. For a wrong argument it throws what Python users expect.
class OperatorCall {
 public:
  OperatorCall(const Operator &op, const pybind11::args &args)
      : op_(&op), arguments_(op.arguments), tensors_(op.arguments) {
    RefuseTransformations();
    if (args.size() != op.arguments) {
      throw pybind11::type_error("For '" + std::string(op.name) + "', " + std::to_string(op.arguments) +
                                 " arguments are needed, but got " + std::to_string(args.size()) + ".");
    }
    for (size_t i = 0; i < op.arguments; ++i) {
      if (op.is_scalar[i]) {
        arguments_[i].scalar = ToInt(i, args[i]);
      } else {
        tensors_[i] = ToTensor(i, args[i]);
      }
    }
  }

  // Waits until shapes are known, and makes every tensor contiguous.
  void Prepare() {
    for (size_t i = 0; i < tensors_.size(); ++i) {
      if (!tensors_[i].has_value()) continue;
      ms::Tensor &tensor = tensors_[i].value();
      tensor.ConvertStubNodeToTensor();
      SetTensor(tensor.data_type(), tensor.shape(), &arguments_[i]);
      if (tensor.is_contiguous()) continue;
      if (op_->WritesInto(i)) {
        throw std::invalid_argument("For '" + std::string(op_->name) + "', the elements of '" + op_->argument_names[i] +
                                    "', which the operator writes, must lie one after the "
                                    "other, but it is a view with shape " +
                                    ToString(tensor.shape()) + " and strides " + ToString(tensor.stride()) +
                                    ". Pass a tensor of its own.");
      }
      tensor = tensor.contiguous();
    }
  }

  void Infer() { inferred_ = op_->infer(arguments_); }

  // The tensors that are given; then new tensors for the outputs that lie in none of them.
  std::vector<ms::Tensor> Inputs() const {
    std::vector<ms::Tensor> inputs;
    for (const auto &tensor : tensors_) {
      if (tensor.has_value()) inputs.push_back(tensor.value());
    }
    return inputs;
  }
  std::vector<ms::Tensor> MakeOutputs() const {
    std::vector<ms::Tensor> outputs;
    for (size_t i = 0; i < inferred_.size(); ++i) {
      if (op_->in_place[i] < 0) {
        outputs.emplace_back(ToTypeId(inferred_[i].dtype), inferred_[i].shape);
      } else {
        outputs.push_back(tensors_[op_->in_place[i]].value());
      }
    }
    return outputs;
  }

  void Launch(const std::vector<ms::Tensor> &outputs, void *npu_stream) {
    for (size_t i = 0; i < tensors_.size(); ++i) {
      if (tensors_[i].has_value()) arguments_[i].data = static_cast<uint8_t *>(tensors_[i]->GetDataPtr());
    }
    std::vector<uint8_t *> addresses;
    for (const ms::Tensor &output : outputs) addresses.push_back(static_cast<uint8_t *>(output.GetDataPtr()));
    op_->Run(arguments_, addresses, npu_stream);
  }

  const Operator &Op() const { return *op_; }
  const Arguments &GetArguments() const { return arguments_; }

 private:
  // Refuses traces and gradients, which would silently be wrong: the framework sees no operator of its own in this
  // call.
  void RefuseTransformations() const {
    const bool tracing = mindspore::trace::IsTracing();
    if (!tracing && !mindspore::pynative::GradState::Get().RequiresGrad()) return;
    const char *refuse = tracing ? "refuse_trace" : "refuse_gradient";
    pybind11::module::import("ms_moe_comm.inference_only").attr(refuse)(op_->name);
  }

  [[noreturn]] void FailType(size_t argument, const char *expected, pybind11::handle got) const {
    const std::string type = got.is_none() ? "None" : Py_TYPE(got.ptr())->tp_name;
    throw pybind11::type_error("For '" + std::string(op_->name) + "', '" + op_->argument_names[argument] +
                               "' must be " + expected + (op_->is_optional[argument] ? " or None" : "") + ", but got " +
                               type + ".");
  }

  std::optional<ms::Tensor> ToTensor(size_t argument, pybind11::handle given) const {
    if (given.is_none() && op_->is_optional[argument]) return std::nullopt;
    if (!mindspore::tensor::IsTensorPy(given)) FailType(argument, "a mindspore.Tensor", given);
    return given.cast<ms::Tensor>();
  }

  int64_t ToInt(size_t argument, pybind11::handle given) const {
    if (PyBool_Check(given.ptr()) || !PyIndex_Check(given.ptr())) FailType(argument, "an int", given);
    const pybind11::object index = pybind11::reinterpret_steal<pybind11::object>(PyNumber_Index(given.ptr()));
    if (!index) throw pybind11::error_already_set();
    int overflow = 0;
    const int64_t value = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
    if (overflow != 0) FailType(argument, "an int of 64 bits", given);
    return value;
  }

  const Operator *op_;
  Arguments arguments_;
  std::vector<Output> inferred_;
  std::vector<std::optional<ms::Tensor>> tensors_;  // per argument
};

// The framework's steps around a launch: memory for inputs and outputs, and on an NPU the stream.
class Runner : public ms::pynative::PyboostRunner {
 public:
  explicit Runner(OperatorCall call) : PyboostRunner(call.Op().name), call_(std::move(call)) {}

  void LaunchKernel() override { call_.Launch(outputs(), OnNpu() ? stream() : nullptr); }

 protected:
  void _Run() override {
    if (OnNpu()) return PyboostRunner::_Run();
    _PrepareStream();
    _PrepareDeviceAddress();
    _MallocDeviceAddress();
    LaunchKernel();
  }

 private:
  OperatorCall call_;
};

std::vector<ms::Tensor> Run(const OperatorCall &call) {
  const std::vector<ms::Tensor> inputs = call.Inputs();
  const std::vector<ms::Tensor> outputs = call.MakeOutputs();
  if (OnNpu() && Ascend().queue_built_in(call.Op(), call.GetArguments(), inputs, outputs)) return outputs;
  std::make_shared<Runner>(call)->Run(inputs, outputs);
  return outputs;
}

// Runs a function that does not use Python without the interpreter's lock: the peers and operators that it waits for
// may need the lock. Turns its errors into Python's.
template <typename Function>
void WithoutLock(Function &&function) {
  try {
    pybind11::gil_scoped_release release;
    function();
  } catch (const WrongType &error) {
    throw pybind11::type_error(error.what());
  } catch (const std::invalid_argument &error) {
    throw pybind11::value_error(error.what());
  }
}

template <size_t outputs>
pybind11::object RunOnNpu(OperatorCall call) {
  WithoutLock([&] {
    call.Prepare();
    call.Infer();  // in the pipeline its error would come out of a later call
  });
  return ms::pynative::PyboostRunner::Call<outputs>(std::string(call.Op().name), [call] { return Run(call); });
}

pybind11::object RunOnCpu(OperatorCall call) {
  std::vector<ms::Tensor> outputs;
  const CallingThread thread;
  try {
    WithoutLock([&] {
      call.Prepare();
      mindspore::runtime::Pipeline::Get().WaitAll();  // until the inputs are written
      call.Infer();
      outputs = Run(call);
    });
  } catch (const InterruptedError &) {
    if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
    throw;
  }
  if (outputs.size() == 1) return pybind11::cast(outputs[0]);
  pybind11::tuple results(outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) results[i] = pybind11::cast(outputs[i]);
  return std::move(results);
}

template <size_t outputs>
void Define(const Operator &op, pybind11::module *m) {
  m->def(op.name, [&op](const pybind11::args &args) {
    OperatorCall call(op, args);
    return OnNpu() ? RunOnNpu<outputs>(std::move(call)) : RunOnCpu(std::move(call));
  });
}

}  // namespace

void DefinePyNative(pybind11::module *m) {
#define MOE_COMM_DEFINE(Op, op) Define<signatures::op::kResults>(k##Op, m);
  MOE_COMM_FOR_EACH_SIGNATURE(MOE_COMM_DEFINE)
#undef MOE_COMM_DEFINE
}

void Drain() {
  pybind11::gil_scoped_release release;
  mindspore::runtime::Pipeline::Get().WaitAll();
}

}  // namespace moe_comm
