#include "scenario.h"

#include <memory>

#include "arguments.h"
#include "checkers/balance.h"
#include "checkers/counts.h"
#include "checkers/errors.h"
#include "checkers/header.h"
#include "checkers/plan.h"
#include "checkers/results.h"
#include "checkers/rows.h"
#include "checkers/sums.h"
#include "checkers/verdict.h"
#include "checkers/witness.h"
#include "faults/fault.h"
#include "faults/faults.h"
#include "host/resume_protocol.h"
#include "kernel_calls.h"
#include "memory.h"
#include "options.h"
#include "resuming_host.h"
#include "windows.h"
#include "workload.h"

namespace simulation {
namespace {

using AscendC::backend::Simulator;
using namespace moe_comm;

// The hosts of all ranks, which launch the kernels and check their results.
class Scenario {
 public:
  Scenario(uint64_t seed, const Watch &watch)
      : watch_(watch), draw_(seed * 2654435761u + 1), options_(DrawOptions(draw_)),
        workload_(DrawWorkload(options_, draw_)), simulator_(SimulatorOptions(seed)) {}
  Scenario(const Size &size, Observer &observer)
      : observer_(&observer), draw_(1), options_(OptionsOf(size)),
        workload_(PlainWorkload(options_, size.tokens, draw_)), simulator_(SimulatorOptions(1)) {
    simulator_.on_transfer = [this](const AscendC::backend::Transfer &move) { observer_->OnTransfer(move); };
  }

  Result Run() {
    windows_ = MakeWindows(options_, shape_, draw_, simulator_, memory_);
    if (observer_ != nullptr) observer_->OnWindows(shape_, windows_);
    for (uint32_t rank = 0; rank < options_.world_size; ++rank) {
      simulator_.Host(rank, [this, rank] { RunRank(rank); });
    }
    result_.report = simulator_.Run();
    if (!watch_.trace.empty() && !simulator_.WriteTrace(watch_.trace)) {
      result_.report += "\ncannot write " + watch_.trace;
    }
    result_.scheduler_steps = simulator_.Steps();
    result_.configuration = Describe(options_, workload_);
    result_.more = DescribeMore(options_);
    if (options_.fault) result_.fault = options_.fault->Description();
    if (options_.unplanted) result_.unplanted_fault = options_.unplanted->Description();
    return result_;
  }

 private:
  // What the host of a rank keeps between its steps.
  struct Rank {
    uint8_t *last_plan = nullptr;
    std::unique_ptr<Arguments> ahead;  // of the next dispatch, if it was launched already
    VerdictChecker verdict;
    CombineSums sums;
  };

  Simulator::Options SimulatorOptions(uint64_t seed) const {
    Simulator::Options options;
    options.ranks = options_.world_size;
    options.cores = options_.cores;
    options.seed = seed;
    options.may_time_out = options_.fault != nullptr;
    options.even = observer_ != nullptr;
    options.goes_on = watch_.goes_on;
    options.traces = !watch_.trace.empty();
    return options;
  }

  // --- the host of one rank ---

  void RunRank(uint32_t rank) {
    RunSteps(rank, 0, options_.fault_step);
    const bool ends = options_.fault && options_.fault->Ends(options_, rank);
    if (options_.resumed_steps == 0 || ends) return;
    Resume(rank);
    RunSteps(rank, options_.fault_step + 1, workload_.steps.size() - 1);
  }

  void RunSteps(uint32_t rank, uint64_t first, uint64_t last) {
    for (uint64_t number = first; number <= last; ++number) {
      if (observer_ == nullptr && simulator_.Random(3) == 0) simulator_.Pause(1 + simulator_.Random(2000));
      const Moment at = At(rank, number);
      const Fault &fault = options_.FaultIn(number);
      if (fault.IsAbsent(at)) return;
      fault.BeforeStep(at, {simulator_, draw_});
      if (number > options_.leave_step && !options_.live[rank]) return;
      if (!RunStep(at, fault)) return;
    }
  }

  // Every rank that has not ended calls this, whether it has seen the failure or not.
  void Resume(uint32_t rank) {
    for (uint32_t other = 0; other < options_.world_size; ++other) {
      if (!options_.resuming[other]) simulator_.AwaitEnd(rank, other);
    }
    ResumingHost host(simulator_, rank);
    ResumeProtocol<ResumingHost>(host, windows_[rank], shape_, rank, options_.resuming).Run();
    const Witness witness = WitnessOf(At(rank, options_.fault_step));
    const uint64_t *header = witness.Header();
    if (resumed_.epoch == 0) resumed_ = {header[kEpoch], header[kExchange]};
    witness.Compare("the epoch to go on from", header[kEpoch], resumed_.epoch);
    witness.Compare("the exchange to go on from", header[kExchange], resumed_.exchange);
    ranks_[rank].verdict.Forget();
  }

  // False if nothing more can be done on this rank's window.
  bool RunStep(const Moment &at, const Fault &fault) {
    Rank &rank = ranks_[at.rank];
    const Step &step = at.GetStep();
    const bool launched = rank.ahead != nullptr;
    const Arguments arguments = launched ? *rank.ahead : PrepareDispatch(at);
    rank.ahead.reset();
    if (fault.SkipsDispatch(at)) return RunCombine(at, arguments, false);
    if (!launched) {
      Launch(at.rank, DispatchOf(at), options_.cores, [&] { CallDispatch(at, arguments); });
    }
    // as on an NPU, where the host looks only after the combine, so it launches the combine in any case
    const bool launch_anyway = options_.asynchronous && step.combine && !fault.SkipsCombine(at);
    if (launch_anyway && (!workload_.Fits(step) || FindRecord(WitnessOf(at), options_.cores) != nullptr)) {
      LaunchCombine(at, arguments, Experts(at, false));
    }
    if (!CheckDispatch(at, fault, arguments)) return false;
    if (!workload_.Fits(step) || !step.combine) return true;
    if (fault.SkipsCombine(at)) return false;
    if (fault.CombinesTwice(at)) return CombineTwice(at, fault, arguments);
    fault.BeforeCombine(at, arguments, {simulator_, draw_});
    return RunCombine(at, arguments, true);
  }

  Arguments PrepareDispatch(const Moment &at) {
    const Fault &fault = options_.FaultIn(at.number);
    Agreed agreed = AgreedIn(options_, workload_, at.rank, at.number);
    fault.ChangeAgreed(at, agreed, draw_);
    Arguments arguments = MakeArguments(options_, at.GetStep(), agreed, at.rank, SlotsOf(shape_, at.rank), memory_);
    if (at.GetStep().keeps) arguments.kept_plan = ranks_[at.rank].last_plan;
    fault.ChangeArguments(at, arguments, {simulator_, draw_});
    ranks_[at.rank].last_plan = arguments.plan;
    return arguments;
  }

  // `content`: whether the experts have computed something.
  bool RunCombine(const Moment &at, const Arguments &arguments, bool content) {
    uint8_t *expand_x = Experts(at, content);
    std::unique_ptr<Arguments> &ahead = ranks_[at.rank].ahead;
    if (FusesNext(at)) ahead = std::make_unique<Arguments>(PrepareDispatch(At(at.rank, at.number + 1)));
    LaunchCombine(at, arguments, expand_x, ahead.get());
    return CheckCombine(at, arguments);
  }

  bool CombineTwice(const Moment &at, const Fault &fault, const Arguments &arguments) {
    const Witness witness = WitnessOf(at);
    if (!RunCombine(at, arguments, true)) witness.Fail("the first combine has failed");
    LaunchCombine(at, arguments, Experts(at, false));
    if (CheckError(witness, at, fault, true) == nullptr) witness.Fail("a second combine is no error");
    return false;
  }

  // The next step's dispatch may follow this combine in the same launch: then neither a host nor the end of a kernel
  // makes a core wait for the others. Not with statistics, since a combine adds to them until its end.
  bool FusesNext(const Moment &at) {
    const bool stays = at.number < options_.leave_step || options_.live[at.rank];
    const bool goes_on = at.number + 1 < workload_.steps.size() && stays;
    return options_.fuses && goes_on && simulator_.Random(2) == 0;
  }

  // The experts' outputs of a rank, in its window or elsewhere.
  uint8_t *Experts(const Moment &at, bool content) {
    const std::vector<uint8_t> &outputs = at.GetStep().outputs[at.rank];
    if (!at.GetStep().in_place) {
      return memory_.Tensor(at.rank, "expert outputs", outputs.size(), content ? outputs.data() : nullptr);
    }
    uint8_t *expand_x = windows_[at.rank] + layout_.outputs.offset;
    if (content && !outputs.empty()) {
      std::memcpy(expand_x, outputs.data(), outputs.size());
      simulator_.Touch(at.rank, expand_x, outputs.size(), true);
    }
    return expand_x;
  }

  // --- launches ---

  static Kernel DispatchOf(const Moment &at) {
    return at.GetStep().prefill[at.rank] ? kPrefillDispatch : kDecodeDispatch;
  }
  static Kernel CombineOf(const Moment &at) { return at.GetStep().prefill[at.rank] ? kPrefillCombine : kDecodeCombine; }

  void Count(Kernel kernel) {
    ++result_.kernels[kernel];
    ++result_.rank_steps;
  }

  void Launch(uint32_t rank, Kernel kernel, uint32_t cores, std::function<void()> body) {
    Count(kernel);
    simulator_.Launch(rank, cores, std::move(body));
    if (observer_ != nullptr) observer_->OnEnd(simulator_, rank, kernel);
  }

  // `next`: the arguments of the next step's dispatch if it follows in the same launch, else nullptr.
  void LaunchCombine(const Moment &at, const Arguments &arguments, uint8_t *expand_x, const Arguments *next = nullptr) {
    const Moment after = At(at.rank, at.number + 1);
    Launch(at.rank, CombineOf(at), options_.combine_cores, [&] {
      CallCombine(at, arguments, expand_x);
      if (next != nullptr) CallDispatch(after, *next);
    });
    if (next != nullptr) Count(DispatchOf(after));
  }

  void CallDispatch(const Moment &at, const Arguments &arguments) {
    const bool prefill = DispatchOf(at) == kPrefillDispatch;
    (prefill ? CallPrefillDispatch : CallDecodeDispatch)(options_, arguments, windows_[at.rank]);
  }
  void CallCombine(const Moment &at, const Arguments &arguments, uint8_t *expand_x) {
    const bool prefill = CombineOf(at) == kPrefillCombine;
    (prefill ? CallPrefillCombine : CallDecodeCombine)(options_, at.GetStep(), arguments, expand_x, windows_[at.rank]);
  }

  // --- checks ---

  // False if the rank has given up and should have.
  bool CheckDispatch(const Moment &at, const Fault &fault, const Arguments &arguments) {
    const Options &o = options_;
    const Witness witness = WitnessOf(at);
    const Step &step = at.GetStep();
    const uint64_t slots = SlotsOf(shape_, at.rank);
    const uint8_t *counts = arguments.expert_token_nums;
    if (const int64_t *record = CheckError(witness, at, fault, false)) {
      CheckCountsAfterError(witness, counts, slots, o.cumulative, shape_.capacity);
      CheckNumbersAfterError(witness, record, NumbersOf(at.number), step.keeps);
      return false;
    }
    const bool fits = workload_.Fits(step);
    CheckNumbers(witness, NumbersOf(at.number), fits);
    ranks_[at.rank].verdict.Check(witness, NumbersOf(at.number).epoch, step.expected, shape_.capacity, !o.asynchronous);
    const uint64_t received = fits ? step.expected.rows[at.rank].size() : 0;
    witness.Compare("received rows", witness.Header()[kReceivedRows], received);
    CheckCounts(witness, counts, fits ? step.expected.counts[at.rank] : std::vector<int64_t>(), slots, o.cumulative);
    if (!fits) return true;
    witness.CompareAll("expand_idx", arguments.expand_idx, step.expected.expand_idx[at.rank]);
    witness.CompareAll("physical_expert_ids", arguments.physical_ids, step.expected.physical_ids[at.rank]);
    CheckRows(witness, o, step);
    const bool resumed = at.number > o.fault_step;  // then a failed dispatch may or may not be counted
    if (o.drops && !resumed) CheckDropped(witness, shape_, workload_);
    if (!resumed) CheckSums(witness, o, workload_);
    if (step.prefill[at.rank]) CheckPlan(witness, o, step, arguments.plan);
    if (o.balanced) CheckBalance(witness, shape_, step, o.LiveIn(at.number));
    return true;
  }

  bool CheckCombine(const Moment &at, const Arguments &arguments) {
    const Witness witness = WitnessOf(at);
    if (CheckError(witness, at, options_.FaultIn(at.number), true) != nullptr) return false;
    ranks_[at.rank].sums.Check(witness, options_, at.GetStep());
    CheckResults(witness, options_, at.GetStep(), arguments.y);
    return true;
  }

  Moment At(uint32_t rank, uint64_t number) const { return {options_, workload_, rank, number}; }
  Witness WitnessOf(const Moment &at) { return {simulator_, at.rank, at.number, windows_[at.rank], layout_}; }

  // The epoch and the exchange of a step.
  Past NumbersOf(uint64_t step) const {
    const bool resumed = step > options_.fault_step;
    const uint64_t first = resumed ? options_.fault_step + 1 : 0;
    Past numbers = resumed ? resumed_ : options_.past;
    numbers.epoch += step - first + 1;
    for (uint64_t n = first; n <= step; ++n) numbers.exchange += !workload_.steps[n].keeps;
    return numbers;
  }

  Watch watch_;
  Observer *observer_ = nullptr;
  Draw draw_;
  Options options_;
  Workload workload_;
  WindowShape shape_ = ShapeOf(options_, workload_.capacity);
  WindowLayout layout_{shape_};
  Simulator simulator_;
  Memory memory_{simulator_};
  std::vector<uint8_t *> windows_;
  std::vector<Rank> ranks_ = std::vector<Rank>(options_.world_size);
  Past resumed_;  // where the ranks have agreed to resume
  Result result_;
};

}  // namespace

std::vector<std::string> KnownFaults() {
  std::vector<std::string> known;
  for (const auto &fault : AllFaults()) known.push_back(fault->Description());
  return known;
}

Result RunScenario(uint64_t seed, const Watch &watch) { return Scenario(seed, watch).Run(); }
Result RunScenario(const Size &size, Observer &observer) { return Scenario(size, observer).Run(); }

}  // namespace simulation
