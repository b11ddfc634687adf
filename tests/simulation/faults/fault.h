// What one rank does wrong in a run. To add a fault: a file beside this one, and its class in the list of faults.cc.
//
// A fault plants itself in options and workload, strikes while the ranks run, and knows which error records it
// explains. Most faults strike in the last step before the ranks resume. After that there is no fault.
#ifndef MOE_COMM_TESTS_SIMULATION_FAULTS_FAULT_H
#define MOE_COMM_TESTS_SIMULATION_FAULTS_FAULT_H

#include <cstdint>
#include <cstring>
#include <vector>

#include "../arguments.h"
#include "../draw.h"
#include "../options.h"
#include "../workload.h"
#include "contract/errors.h"
#include "contract/window_schema.h"
#include "host_twin/check/simulator.h"

namespace simulation {

// What options and workload must have for a fault. They are drawn accordingly.
struct Needs {
  bool map = false;        // logical experts
  bool smooth = false;     // smooth factors, best in a balanced window
  bool kept_plan = false;  // the last step keeps the plan of the one before
  bool tokens = false;     // the faulty rank has tokens
  bool resume = false;     // the other ranks resume
};

// A rank in a step.
struct Moment {
  const Options &options;
  const Workload &workload;
  uint32_t rank;
  uint64_t number;  // of the step

  const Step &GetStep() const { return workload.steps[number]; }
  bool OnFaultRank() const { return rank == options.fault_rank; }
  bool InFaultStep() const { return number == options.fault_step; }
  bool Here() const { return OnFaultRank() && InFaultStep(); }
};

// What a fault may use when it strikes.
struct Hands {
  AscendC::backend::Simulator &simulator;
  Draw &draw;

  void Overwrite(uint32_t rank, uint8_t *tensor, uint64_t word, int32_t value) {
    std::memcpy(tensor + word * sizeof(value), &value, sizeof(value));
    simulator.Touch(rank, tensor + word * sizeof(value), sizeof(value), true);
  }
};

class Fault {
 public:
  virtual ~Fault() = default;
  virtual const char *Description() const = 0;

  // --- it plants itself ---
  virtual void Need(Needs &) const {}
  // False if it cannot be planted.
  virtual bool PlantInOptions(Options &) { return true; }
  virtual bool Plant(const Options &, Workload &, Draw &) { return true; }
  // Whether the rank ends with the fault.
  virtual bool Ends(const Options &, uint32_t /*rank*/) const { return false; }

  // --- where it strikes ---
  virtual bool IsAbsent(const Moment &) const { return false; }
  virtual void BeforeStep(const Moment &, Hands) const {}
  virtual void ChangeAgreed(const Moment &, Agreed &, Draw &) const {}
  virtual void ChangeArguments(const Moment &, Arguments &, Hands) const {}
  virtual bool SkipsDispatch(const Moment &) const { return false; }
  virtual bool SkipsCombine(const Moment &) const { return false; }
  virtual void BeforeCombine(const Moment &, const Arguments &, Hands) const {}
  virtual bool CombinesTwice(const Moment &) const { return false; }

  // --- what it explains ---
  // Whether the rank must have an error record by now: after the dispatch of a step, or after its combine.
  virtual bool MustFail(const Moment &at, bool combined) const = 0;
  // Whether this fault explains the rank's record.
  virtual bool Explains(const Moment &at, const int64_t *record) const = 0;
};

// Nothing goes wrong.
class NoFault : public Fault {
 public:
  const char *Description() const override { return "none"; }
  bool MustFail(const Moment &, bool) const override { return false; }
  bool Explains(const Moment &, const int64_t *) const override { return false; }
};

inline Needs NeedsOf(const Options &options) {
  Needs needs;
  if (options.fault) options.fault->Need(needs);
  return needs;
}

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_FAULTS_FAULT_H
