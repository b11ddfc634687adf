// What goes wrong, as it stands in a window: records of errors, their codes, and the agreement word.
#ifndef MOE_COMM_CONTRACT_RECORDS_H
#define MOE_COMM_CONTRACT_RECORDS_H

#include <cstdint>

namespace moe_comm {

// A line of words that tells an error: this rank's own (header) or a peer's (aborted).
enum RecordField : uint32_t { kCode = 0, kPhase, kRecordEpoch, kCount, kDetail, kRecordWords = 8 };
constexpr uint32_t kDetailWords = kRecordWords - kDetail;

enum ErrorCode : int64_t {
  kOk = 0,
  kTimedOut = 1,       // count = how many ranks are missing, detail = the first of them
  kPeerAborted = 2,    // count = a rank waited for, detail = {peer, its code, its phase, the first rank that it missed}
  kExpertIdRange = 3,  // detail = {id, E and special experts, token, k}
  kRowIndexRange = 4,  // detail = {expand_idx, capacity, token, k}
  kNoDispatch = 5,     // a combine without a dispatch that placed rows; detail = {last epoch, last placed, last combined}
  kPlanMismatch = 6,   // detail = {the plan's epoch, T and K, the window's epoch}
  kOverflow = 7,       // in the verdict words only
  kDisagree = 8,       // count = how many ranks, detail = {the first of them, its agreement word, the own one}
  kBadMap = 9,         // detail = {logical expert, MapFault, the value, its limit}
  kKeptPlan = 10,      // a kept plan that does not hold; detail = {PlanFault, what the plan says, what is so}
  kBadRankMask = 11,   // detail = {RankFault, the rank}
  kInterrupted = 12,   // as kTimedOut: the host ended the wait
};

enum PlanFault : int64_t {
  kOtherExchange = 0, kNotCombined, kOtherTokenNum, kOtherColumns, kOtherQuantMode, kOtherRouting, kOtherRanks
};

enum RankFault : int64_t { kCameBack = 0, kSelfLeft, kNobodyLeft };

enum MapFault : int64_t { kReplicaCount = 0, kPhysicalId = 1, kOwnedTwice = 2 };

// The 32 bits behind the epoch in the agreement word, from the lowest on: fields in which the ranks must not differ, and
// the phase, in which they may.
enum AgreementBits : uint32_t { kMapHashBits = 18, kMaskHashBits = 8, kQuantModeBits = 2, kSmoothKindBits = 2 };
constexpr uint32_t kQuantModeShift = kMapHashBits + kMaskHashBits;
constexpr uint32_t kSmoothKindShift = kQuantModeShift + kQuantModeBits;  // 0 unless prefill is balanced
constexpr uint32_t kKeepsPlan = 1u << (kSmoothKindShift + kSmoothKindBits);  // no counts follow
constexpr uint32_t kInPrefill = kKeepsPlan << 1;

enum Phase : int64_t { kNoPhase = 0, kWaitCounts = 1, kWaitArrived = 2, kWaitReady = 3, kWaitHanded = 4, kReadInput = 5 };

}  // namespace moe_comm

#endif  // MOE_COMM_CONTRACT_RECORDS_H
