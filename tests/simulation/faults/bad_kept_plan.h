// An invalid kept plan: of other ids, of another rank_mask, or of another exchange or shape.
#ifndef MOE_COMM_TESTS_SIMULATION_FAULTS_BAD_KEPT_PLAN_H
#define MOE_COMM_TESTS_SIMULATION_FAULTS_BAD_KEPT_PLAN_H

#include <iterator>
#include <vector>

#include "contract/plan_layout.h"
#include "families.h"
#include "other_mask.h"

namespace simulation {

class BadKeptPlan : public OwnError {
 public:
  BadKeptPlan() : OwnError(moe_comm::kKeptPlanBroken) {}
  const char *Description() const override { return "a kept plan that does not hold"; }
  void Need(Needs &needs) const override { needs.kept_plan = true; }
  bool Plant(const Options &options, Workload &workload, Draw &draw) override {
    Tokens &tokens = workload.steps[options.fault_step].tokens[options.fault_rank];
    if (draw.OneIn(4) && RouteOtherwise(tokens, draw)) {
      way_ = kOtherIds;
    } else if (!options.OneExpertRank() && draw.OneIn(4)) {
      way_ = kOtherMask;
    }
    return true;
  }
  void ChangeAgreed(const Moment &at, Agreed &agreed, Draw &) const override {
    if (at.Here() && way_ == kOtherMask) agreed.rank_mask = WithoutNext(at.options);
  }
  void ChangeArguments(const Moment &at, Arguments &arguments, Hands hands) const override {
    using namespace moe_comm;
    static const PlanField fields[] = {kPlanExchangeLow, kPlanExchangeHigh, kPlanExchangeHigh, kPlanTokens,
                                       kPlanColumns,     kPlanQuantMode,    kPlanQuantMode,    kPlanRouting};
    if (!at.Here() || way_ != kOtherField) return;
    hands.Overwrite(at.rank, arguments.kept_plan, fields[hands.draw.Below(std::size(fields))], 12345);
  }
  bool MustFail(const Moment &at, bool) const override { return at.Here(); }

 private:
  enum Way { kOtherField, kOtherIds, kOtherMask };

  // Sends one token elsewhere. False if no pair is active.
  static bool RouteOtherwise(Tokens &tokens, Draw &draw) {
    std::vector<uint64_t> active;
    for (uint64_t pair = 0; pair < tokens.active.size(); ++pair) {
      if (tokens.active[pair]) active.push_back(pair);
    }
    if (active.empty()) return false;
    int64_t &id = tokens.expert_ids[active[draw.Below(active.size())]];
    id = id < 0 ? 0 : -1;
    return true;
  }

  Way way_ = kOtherField;
};

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_FAULTS_BAD_KEPT_PLAN_H
