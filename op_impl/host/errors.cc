#include "host/errors.h"

#include "contract/window_schema.h"

namespace moe_comm {

std::string Seconds(uint64_t microseconds) {
  std::string text = std::to_string(microseconds / 1e6);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text + " s";
}

namespace {

std::string Number(int64_t value) { return std::to_string(value); }

std::string AwaitedThing(int64_t phase) {
  switch (phase) {
    case kWaitCounts: return "the counts (phase 'counts')";
    case kWaitArrived: return "the rows (phase 'arrived')";
    case kWaitReady: return "the expert outputs (phase 'ready')";
    case kWaitHanded: return "the rows that it hands over (phase 'handed')";
    default: return "nothing (phase 'input')";
  }
}

std::string Pair(int64_t token, int64_t k) { return "token " + Number(token) + ", k " + Number(k); }

std::string Ranks(const TimedOut &error) {
  std::string text = error.missing == 1 ? "rank " : "ranks ";
  for (int64_t i = 0; i < error.missing && i < TimedOut::kNamed; ++i) text += (i ? ", " : "") + Number(error.ranks[i]);
  if (error.missing > TimedOut::kNamed) text += " and " + Number(error.missing - TimedOut::kNamed) + " more";
  return text;
}

// --- why another rank gave up: a text from its code, its phase and the rank that it blamed ---

std::string Cause(int64_t code, int64_t phase, int64_t blamed) {
  switch (code) {
    case kTimedOut: return "it waited in vain for " + AwaitedThing(phase) + " of rank " + Number(blamed);
    case kInterrupted: return "it was interrupted";
    case kPeerAborted: return "rank " + Number(blamed) + " had given up";
    case kExpertIdRange: return "an expert id was out of range there";
    case kRowIndexRange: return "an expand_idx was out of range there";
    case kNoDispatch: return "it called combine without a dispatch of its own";
    case kPlanMismatch: return "its plan was of another dispatch";
    case kDisagreement: return "its arguments were not those of rank " + Number(blamed);
    case kInvalidMap: return "its placement map was not valid";
    case kKeptPlanBroken: return "its kept plan did not hold any more";
    case kInvalidRankMask: return "its rank_mask was invalid";
    case kUnknownDtype: return "its window's dtype was unknown there";
    default: return "error code " + Number(code);
  }
}

// The first error, which made other ranks give up one after the other.
struct Origin {
  int64_t rank, code, phase, blamed;
};

Origin FindOrigin(const PeerAborted &error, const std::vector<int64_t> &aborted) {
  constexpr uint64_t kLineWords = kLineBytes / sizeof(int64_t);
  Origin origin = {error.peer, error.its_code, error.its_phase, error.its_blamed};
  for (uint64_t i = 0; i < aborted.size() / kLineWords && origin.code == kPeerAborted; ++i) {
    const int64_t *record = aborted.data() + origin.blamed * kLineWords;
    if (record[kCode] == kNoError) break;  // it has not arrived yet
    origin = {origin.blamed, record[kCode], record[kPhase], record[kBlamedRank]};
  }
  return origin;
}

// --- a sentence for each type of error ---

std::string SentenceOf(const TimedOut &error, int64_t phase, const ErrorContext &context) {
  return "waited " + Seconds(context.timeout_us) + " in vain for " + AwaitedThing(phase) + " of " + Ranks(error) +
         ". A rank named here is dead, more than the window's timeout late, waits in vain for another itself, or did "
         "not call the same operators in the same order.";
}

std::string SentenceOf(const Interrupted &error, int64_t phase, const ErrorContext &) {
  return "was interrupted while it waited for " + AwaitedThing(phase) + " of " + Ranks(error) + ".";
}

std::string SentenceOf(const PeerAborted &error, int64_t phase, const ErrorContext &context) {
  const Origin origin = FindOrigin(error, context.aborted());
  return "was waiting for " + AwaitedThing(phase) + " of rank " + Number(error.awaited) + " when rank " +
         Number(origin.rank) + " gave up: " + Cause(origin.code, origin.phase, origin.blamed) + ".";
}

// Under a placement map ids are logical.
std::string SentenceOf(const ExpertIdRange &error, int64_t, const ErrorContext &context) {
  const std::string known = error.limit == context.expert_num ? "the window has the experts"
                                                              : "the logical and special experts are";
  return "'expert_ids' holds " + Number(error.id) + " (" + Pair(error.token, error.k) + "), but " + known + " 0 to " +
         Number(error.limit - 1) + ". Pass a negative id for a (token, k) that goes to no expert.";
}

std::string SentenceOf(const RowIndexRange &error, int64_t, const ErrorContext &) {
  return "'expand_idx' holds " + Number(error.row) + " (" + Pair(error.token, error.k) + "), but " +
         (error.row < error.capacity ? "the expert id there has another place"
                                     : "the window has " + Number(error.capacity) + " rows") +
         ". Pass expert_ids and expand_idx of the last dispatch unchanged.";
}

std::string SentenceOf(const NoDispatch &error, int64_t, const ErrorContext &) {
  if (error.epoch != 0 && error.epoch == error.combined_epoch) {
    return "dispatch number " + Number(error.epoch) +
           " was combined already, and peers may have gone on. Dispatch "
           "again first.";
  }
  return "found no rows to combine: the window's last dispatch is number " + Number(error.epoch) +
         ", the last that placed its rows number " + Number(error.placed_epoch) + ". Dispatch first.";
}

std::string SentenceOf(const PlanMismatch &error, int64_t, const ErrorContext &) {
  return "got the plan of dispatch " + Number(error.plan_epoch) + " for T = " + Number(error.tokens) +
         " and K = " + Number(error.top_k) + ", but the window's last dispatch is number " + Number(error.epoch) +
         ". Pass 'plan' and 'expert_ids' of the last dispatch unchanged.";
}

std::string SentenceOf(const Disagreement &error, int64_t, const ErrorContext &) {
  const int64_t here = error.own_word;
  const int64_t there = error.its_word;
  const auto field = [](int64_t word, uint32_t shift, uint32_t bits) { return (word >> shift) & ((1 << bits) - 1); };
  const auto differs = [=](uint32_t shift, uint32_t bits) { return field(there ^ here, shift, bits) != 0; };
  std::string text = "was given other arguments than rank " + Number(error.first_rank) +
                     (error.ranks > 1 ? " and " + Number(error.ranks - 1) + " more" : "") + ": ";
  if (((there ^ here) & kKeepsPlan) != 0) {
    text += "that one keeps its plan, this one does not ('kept_plan', the kept_handle of MoEDispatcher)";
  } else if (differs(kQuantModeShift, kQuantModeBits)) {
    text += "quant_mode is " + Number(field(here, kQuantModeShift, kQuantModeBits)) + " here and " +
            Number(field(there, kQuantModeShift, kQuantModeBits)) + " there";
  } else if (differs(kSmoothKindShift, kSmoothKindBits)) {
    text += "scales (smooth factors) are of different shapes, or given to one alone, "
            "and balanced prefill needs them alike";
  } else if (differs(kMapHashBits, kMaskHashBits)) {
    text += "rank_mask differs";
  } else {
    text += "logical_to_physical_map or logical_replica_count differ";
  }
  return text + ". Give all ranks the same, from the same step on.";
}

std::string SentenceOf(const InvalidMap &error, int64_t, const ErrorContext &) {
  const std::string expert = "logical expert " + Number(error.expert);
  switch (error.fault) {
    case MapFault::kReplicaCount:
      return "'logical_replica_count' gives " + expert + " " + Number(error.value) +
             " replicas, but the map has room for 1 to " + Number(error.limit) +
             ". Give each logical expert one replica at least, and the map a column for each.";
    case MapFault::kOwnedTwice:
      return "'logical_to_physical_map' gives physical expert " + Number(error.value) + " to " + expert +
             ", but it serves another already. Give each physical expert to one logical expert at most.";
    default:
      return "'logical_to_physical_map' gives " + expert + " the physical expert " + Number(error.value) +
             ", but the window has 0 to " + Number(error.limit - 1) +
             ". Give physical ids; -1 only behind the replicas that count.";
  }
}

std::string SentenceOf(const KeptPlanBroken &error, int64_t, const ErrorContext &) {
  const std::string plan = Number(error.kept);
  const std::string here = Number(error.found);
  switch (error.fault) {
    case PlanFault::kOtherExchange:
      return "'kept_plan' is of the window's exchange of counts number " + plan + ", but the last one is number " +
             here + ". Keep the plan of the dispatch before, on the same window, or pass None to exchange anew.";
    case PlanFault::kNotCombined:
      return "a dispatch with 'kept_plan' needs the combine of the one before, but dispatch number " + here +
             (error.kept == 0 ? " has none" : " has none yet (the last combined is number " + plan + ")") +
             ". Combine first, or pass None to exchange anew.";
    case PlanFault::kOtherTokenNum: return "'kept_plan' is for T = " + plan + ", but T is " + here + ".";
    case PlanFault::kOtherColumns:
      return "'kept_plan' is for " + plan + " experts per token, but there are " + here + ".";
    case PlanFault::kOtherQuantMode:
      return "'kept_plan' is for quant_mode " + plan + ", but quant_mode is " + here + ".";
    case PlanFault::kOtherRanks:
      return "'rank_mask' is not that of the dispatch before, so its plan does not hold. Exchange anew.";
    default:
      return "'kept_plan' was made for other expert_ids, x_active_mask or placement map. Pass those of that dispatch, "
             "or None to exchange anew.";
  }
}

std::string SentenceOf(const InvalidRankMask &error, int64_t, const ErrorContext &) {
  const std::string rank = Number(error.rank);
  switch (error.fault) {
    case RankFault::kCameBack:
      return "'rank_mask' has rank " + rank +
             ", which took no part in the dispatch before. A rank that has left does "
             "not come back: create a new window.";
    case RankFault::kSelfLeft:
      return "rank " + rank + " has left this window by a 'rank_mask' without it. Create a new one to come back.";
    default: return "'rank_mask' leaves no rank that holds routed experts. Keep one at least.";
  }
}

std::string SentenceOf(const UnknownDtype &error, int64_t, const ErrorContext &) {
  return "got the dtype code " + Number(error.dtype) +
         ", which the kernels do not know. Install the package again: "
         "kernels and library are of two builds.";
}

}  // namespace

std::string Sentence(const int64_t *record, const ErrorContext &context) {
#define MOE_COMM_ERROR(code, type) \
  if (const type *error = As<type>(record)) return SentenceOf(*error, record[kPhase], context);
  MOE_COMM_ERRORS(MOE_COMM_ERROR)
#undef MOE_COMM_ERROR
  return "failed with code " + Number(record[kCode]) + ".";
}

}  // namespace moe_comm
