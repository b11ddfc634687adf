#include "faults.h"

#include <iterator>

#include "absent.h"
#include "absent_combine.h"
#include "bad_combine_id.h"
#include "bad_id.h"
#include "bad_kept_plan.h"
#include "bad_row.h"
#include "combine_first.h"
#include "empty_mask.h"
#include "invalid_map.h"
#include "keeps_alone.h"
#include "killed.h"
#include "other_map.h"
#include "other_mask.h"
#include "other_plan.h"
#include "other_quant_mode.h"
#include "other_smooth.h"
#include "second_combine.h"
#include "uncombined.h"
#include "unknown_dtype.h"

namespace simulation {
namespace {

using Maker = std::unique_ptr<Fault> (*)();

template <typename OneFault>
std::unique_ptr<Fault> Make() {
  return std::make_unique<OneFault>();
}

// The order only decides which random number stands for which fault.
const Maker kFaults[] = {Make<Absent>,       Make<AbsentCombine>,  Make<Killed>,          Make<BadId>,
                         Make<InvalidMap>,   Make<OtherQuantMode>, Make<OtherMap>,        Make<OtherSmooth>,
                         Make<KeepsAlone>,   Make<CombineFirst>,   Make<SecondCombine>,   Make<BadRow>,
                         Make<BadCombineId>, Make<OtherPlan>,      Make<BadKeptPlan>,     Make<Uncombined>,
                         Make<OtherMask>,    Make<EmptyMask>,      Make<UnknownDtypeCode>};

// Some are drawn more often: they have many variants, or need many conditions to show anything.
const Maker kOften[] = {
    Make<BadKeptPlan>, Make<BadKeptPlan>, Make<BadKeptPlan>, Make<BadKeptPlan>, Make<BadKeptPlan>,     Make<Killed>,
    Make<Killed>,      Make<Killed>,      Make<Killed>,      Make<Killed>,      Make<OtherPlan>,       Make<OtherPlan>,
    Make<InvalidMap>,  Make<InvalidMap>,  Make<OtherSmooth>, Make<KeepsAlone>,  Make<UnknownDtypeCode>};

}  // namespace

std::unique_ptr<Fault> DrawFault(const Options &options, Draw &draw) {
  if (options.world_size < 2 || !draw.OneIn(3)) return nullptr;
  if (options.rules.shared_experts > 0 && draw.OneIn(5)) return Make<BadRow>();
  if (!draw.OneIn(3)) return kOften[draw.Below(std::size(kOften))]();
  return kFaults[draw.Below(std::size(kFaults))]();
}

std::vector<std::unique_ptr<Fault>> AllFaults() {
  std::vector<std::unique_ptr<Fault>> all;
  for (const Maker make : kFaults) all.push_back(make());
  return all;
}

}  // namespace simulation
