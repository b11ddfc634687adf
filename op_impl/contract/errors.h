// The errors that kernels find: each a type with its fields, which are the words of its record in a window. Their
// sentences are in host/errors.cc. To add one: its type here and in MOE_COMM_ERRORS, its sentence there, its row in
// ms_moe_comm/ERRORS.md.
#ifndef MOE_COMM_CONTRACT_ERRORS_H
#define MOE_COMM_CONTRACT_ERRORS_H

#include <cstddef>
#include <cstdint>

namespace moe_comm {

// What a rank does when it finds an error: it waits for its peers, or reads its input.
enum Phase : int64_t {
  kNoPhase = 0,
  kWaitCounts = 1,
  kWaitArrived = 2,
  kWaitReady = 3,
  kWaitHanded = 4,
  kReadInput = 5
};

// A record is a line of words: code, phase and epoch, then the fields of the error's type. A rank's own records are in
// the part `records`, its peers' records in `aborted`.
enum RecordField : uint32_t { kCode = 0, kPhase, kRecordEpoch, kErrorFields, kRecordWords = 8 };
constexpr uint32_t kMaxErrorFields = kRecordWords - kErrorFields;
// An error that another rank causes has the number of that rank in this word. It leads to the first cause.
constexpr uint32_t kBlamedRank = kErrorFields + 1;

// ERROR(code, type). A code never changes its meaning.
// clang-format off
#define MOE_COMM_ERRORS(ERROR) \
  ERROR(1, TimedOut)           \
  ERROR(2, PeerAborted)        \
  ERROR(3, ExpertIdRange)      \
  ERROR(4, RowIndexRange)      \
  ERROR(5, NoDispatch)         \
  ERROR(6, PlanMismatch)       \
  ERROR(8, Disagreement)       \
  ERROR(9, InvalidMap)         \
  ERROR(10, KeptPlanBroken)    \
  ERROR(11, InvalidRankMask)   \
  ERROR(12, Interrupted)       \
  ERROR(13, UnknownDtype)
// clang-format on

enum ErrorCode : int64_t {
  kNoError = 0,
  kOverflow = 7,  // in the verdict words alone: the window stays usable
#define MOE_COMM_ERROR(code, type) k##type = code,
  MOE_COMM_ERRORS(MOE_COMM_ERROR)
#undef MOE_COMM_ERROR
};

// A wait that reached its deadline.
struct TimedOut {
  static constexpr uint32_t kNamed = 4;
  int64_t missing;        // how many ranks
  int64_t ranks[kNamed];  // the first of them
};

// A wait that the host ended.
struct Interrupted : TimedOut {};

// A peer has given up while this rank waited.
struct PeerAborted {
  int64_t awaited;  // a rank that this one waited for
  int64_t peer;
  int64_t its_code;
  int64_t its_phase;
  int64_t its_blamed;  // the word kBlamedRank of its record
};

struct ExpertIdRange {
  int64_t id;
  int64_t limit;  // experts and special experts
  int64_t token;
  int64_t k;
};

// An expand_idx that no dispatch of this window returned.
struct RowIndexRange {
  int64_t row;
  int64_t capacity;
  int64_t token;
  int64_t k;
};

// A combine without a dispatch that has placed rows.
struct NoDispatch {
  int64_t epoch;
  int64_t placed_epoch;
  int64_t combined_epoch;
};

// The plan of another dispatch.
struct PlanMismatch {
  int64_t plan_epoch;
  int64_t tokens;
  int64_t top_k;
  int64_t epoch;
};

// Ranks whose arguments differ from this rank's.
struct Disagreement {
  int64_t ranks;       // how many
  int64_t first_rank;  // of them
  int64_t its_word;    // agreement words
  int64_t own_word;
};

enum class MapFault : int64_t { kReplicaCount, kPhysicalId, kOwnedTwice };
struct InvalidMap {
  MapFault fault;
  int64_t expert;  // logical
  int64_t value;
  int64_t limit;
};

enum class PlanFault : int64_t {
  kOtherExchange,
  kNotCombined,
  kOtherTokenNum,
  kOtherColumns,
  kOtherQuantMode,
  kOtherRouting,
  kOtherRanks
};
struct KeptPlanBroken {
  PlanFault fault;
  int64_t kept;   // what the plan says
  int64_t found;  // what the kernel found
};

enum class RankFault : int64_t { kCameBack, kSelfLeft, kNobodyLeft };
struct InvalidRankMask {
  RankFault fault;
  int64_t rank;
};

// A code that the table of dtypes does not have: kernels and host are of two builds.
struct UnknownDtype {
  int64_t dtype;
};

// The code of an error's type.
template <typename Error>
struct CodeOf;
#define MOE_COMM_ERROR(code, type)                                                                   \
  template <>                                                                                        \
  struct CodeOf<type> {                                                                              \
    static_assert(sizeof(type) <= kMaxErrorFields * sizeof(int64_t), "a record has no room for it"); \
    static constexpr int64_t kValue = code;                                                          \
  };
MOE_COMM_ERRORS(MOE_COMM_ERROR)
#undef MOE_COMM_ERROR

static_assert(offsetof(TimedOut, ranks) == (kBlamedRank - kErrorFields) * sizeof(int64_t), "blames the first rank");
static_assert(offsetof(PeerAborted, peer) == (kBlamedRank - kErrorFields) * sizeof(int64_t), "blames the peer");
static_assert(offsetof(Disagreement, first_rank) == (kBlamedRank - kErrorFields) * sizeof(int64_t), "blames the rank");

// The error of a record, nullptr if it is of another type.
template <typename Error>
const Error *As(const int64_t *record) {
  return record[kCode] == CodeOf<Error>::kValue ? reinterpret_cast<const Error *>(record + kErrorFields) : nullptr;
}

// The 32 bits behind the epoch in the agreement word, from the lowest on: fields in which the ranks must not differ,
// and the phase, in which they may.
enum AgreementBits : uint32_t { kMapHashBits = 18, kMaskHashBits = 8, kQuantModeBits = 2, kSmoothKindBits = 2 };
constexpr uint32_t kQuantModeShift = kMapHashBits + kMaskHashBits;
constexpr uint32_t kSmoothKindShift = kQuantModeShift + kQuantModeBits;      // 0 unless prefill is balanced
constexpr uint32_t kKeepsPlan = 1u << (kSmoothKindShift + kSmoothKindBits);  // no counts follow
constexpr uint32_t kInPrefill = kKeepsPlan << 1;

}  // namespace moe_comm

#endif  // MOE_COMM_CONTRACT_ERRORS_H
