// Where everything lies in an expert window: the only place that computes a size or an address of one.
//
// A window is one region per rank with the same layout on all ranks. Kernels (AscendC), the host and
// Python (through the binding) all call these functions. Offsets are 64-bit bytes from the region's base.
//
//   header   one 64-bit word per WindowField, then one record line per block (this rank's errors)
//   peers    [R] 64-bit base address of each rank's region
//   live     [R] bytes: which ranks take part
//   counts   [2 parities][R sources][slots + 1] 64-bit words {epoch:32 | count:32}, a source's row on its own lines;
//            the first word carries what the ranks must agree on
//   arrived  [R] lines: the epoch whose rows from that source have all landed
//   ready    [R] lines: the epoch whose expert outputs on that rank may be read
//   handed   [R] lines: the epoch of which that rank has handed over rows to this one (balanced prefill)
//   aborted  [R] lines: a record of the error that made that rank give up
//   meeting  [R] lines: what the hosts tell each other when they resume after a failure
//   scratch  tables of this rank's own kernels; no peer touches them
//   rows     [A] rows, dispatch writes them from every rank       -> window.rows
//   scales   [A] fp32                                             -> window.scales
//   outputs  [A] rows, combine reads them from every rank         -> window.outputs
//   inputs   rows of x that other ranks move, and entries that say where to (balanced prefill)
//
// header .. scratch together are the tensor window.control.
//
// A slot is a place of a group's experts that gets rows of its own: first one for each rank that holds a shared expert
// (ranks 0 .. Q-1, no routed expert), then one for each routed physical expert. Without such ranks slots are experts.
#ifndef MOE_COMM_CONTRACT_WINDOW_LAYOUT_H
#define MOE_COMM_CONTRACT_WINDOW_LAYOUT_H

#include <cstdint>

#ifndef __aicore__
#define __aicore__  // host compilers; the kernel compiler brings its own
#endif

namespace moe_comm {

constexpr uint64_t kWindowMagic = 0x4d4f45434f4d4d31ULL;  // "MOECOMM1": magic and layout version in one
constexpr uint64_t kLineBytes = 64;                        // one flag or record per line: no false sharing
constexpr uint64_t kRegionAlign = 512;
constexpr uint64_t kRowAlign = 32;  // the unit of UB and of aligned moves: a row is a whole number of these
constexpr uint32_t kMaxBlocks = 64;
constexpr uint32_t kMaxTopK = 16;
constexpr uint32_t kMaxSharedExperts = 4;
constexpr uint32_t kMaxExperts = 65536;
constexpr uint32_t kMaxRanks = 1024;

// 64-bit words at the start of a region. The first group is written once, by the host.
enum WindowField : uint32_t {
  kMagic = 0,
  kWorldSize,
  kRankId,
  kExpertNum,
  kCapacity,
  kRowBytes,
  kBlockDim,
  kMaxTokens,
  kTopK,
  kDtype,
  kTimeoutUs,
  kSharedRankNum,    // Q
  kSharedExpertNum,  // S on ranks of their own
  kOverflowDrop,     // 1: rows beyond the capacity are dropped, 0: they are an error
  kPooledTokens,     // most tokens of a rank, if prefill is balanced
  kPooledPairs,      //   and their (token, column) pairs
  kKeepsStats,       // 1: the kernels add up times and bytes
  // advanced by the kernels, since under graph capture the host's launch code does not run on replay
  kEpoch,         // dispatches so far, and those that were given up for a resume
  kExchange,      // counts exchanges so far; its lowest bit is the parity
  kPlacedEpoch,   // the last dispatch that placed its rows: what a combine may read
  kVerdictCode,   // an error of a dispatch that all ranks share and that leaves the window usable, until it is told
  kVerdictRank,   //   the rank whose window is too small,
  kVerdictNeed,   //   the rows that it would have got,
  kVerdictSource, //   the rank that sends it most,
  kVerdictEpoch,  //   and the dispatch
  kCombinedEpoch, // the last dispatch whose combine has begun: it has no second one
  kReceivedRows,  // rows that the last dispatch placed in this window
  kCopiedBytes,   // bytes that the last combine had to copy into `outputs`
  kLeftRanks,     // how many ranks take no part any more
  kResumeRounds,  // meetings of the hosts that are over: two for each time that they resume after a failure
  kLostPairs,     // (token, k) of this rank, so far, whose expert was on such a rank
  // sums since the window was made, if it keeps statistics; of times, in cycles of 50 MHz
  kCountCycles,     // dispatch: counting the own tokens
  kExchangeCycles,  //   counts to and from all ranks
  kPlaceCycles,     //   rows to their places
  kArriveCycles,    //   until the rows of all peers are here
  kOutputsCycles,   // combine: expert outputs into the window, if they are elsewhere
  kReadyCycles,     //   until those of all peers may be read
  kReduceCycles,    //   reading and adding them
  kSentRows,        // to other ranks
  kSentBytes,
  kReadBytes,       // from other ranks, by combine
  // kept by the host around its launches
  kDispatchCalls,
  kDispatchNanoseconds,
  kCombineCalls,
  kCombineNanoseconds,
  kFieldCount
};

// A line of words that tells an error: this rank's own (header) or a peer's (aborted).
enum RecordField : uint32_t { kCode = 0, kPhase, kRecordEpoch, kCount, kDetail, kRecordWords = 8 };
constexpr uint32_t kDetailWords = kRecordWords - kDetail;

// A block's line of scratch. The verdict words stand as in the header.
enum NoteField : uint32_t {
  kNoteCode = 0,
  kNoteRank,
  kNoteNeed,
  kNoteSource,
  kNoteEpoch,
  kVerdictWords,
  kNoteWeight = kVerdictWords,  // of the tokens that the block counted
  kNoteRouting,                 // a hash of where they go; above it, how many pairs have lost their expert
  kNoteMap                      // of the placement map, in the first block's line
};

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

// The words of a counts row.
enum CountsWord : uint32_t { kAgreementWord = 0, kFirstSlotWord };

// The 32 bits behind the epoch in the agreement word, from the lowest on: fields in which the ranks must not differ, and
// the phase, in which they may.
enum AgreementBits : uint32_t { kMapHashBits = 18, kMaskHashBits = 8, kQuantModeBits = 2, kSmoothKindBits = 2 };
constexpr uint32_t kQuantModeShift = kMapHashBits + kMaskHashBits;
constexpr uint32_t kSmoothKindShift = kQuantModeShift + kQuantModeBits;  // 0 unless prefill is balanced
constexpr uint32_t kKeepsPlan = 1u << (kSmoothKindShift + kSmoothKindBits);  // no counts follow
constexpr uint32_t kInPrefill = kKeepsPlan << 1;

enum Phase : int64_t { kNoPhase = 0, kWaitCounts = 1, kWaitArrived = 2, kWaitReady = 3, kWaitHanded = 4, kReadInput = 5 };
constexpr uint64_t kWaitPhases = 4;

// What a rank hands over to another in a balanced prefill: a row of its x, and where it goes.
enum EntryField : uint32_t { kEntryToken = 0, kEntryRow, kEntryRank, kEntrySmooth, kEntryWords };

// What the layout depends on.
struct WindowShape {
  uint64_t world_size;  // R
  uint64_t expert_num;  // E
  uint64_t block_dim;   // most cores that a kernel on this window may use
  uint64_t capacity;    // A
  uint64_t row_bytes;
  uint64_t shared_ranks = 0;  // Q
  uint64_t pooled_tokens = 0;  // most tokens of a rank, if prefill is balanced, and their (token, column) pairs
  uint64_t pooled_pairs = 0;
};

__aicore__ inline uint64_t RoundUp(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }
__aicore__ inline uint64_t RegionSize(uint64_t bytes) { return RoundUp(bytes, kRegionAlign); }

// --- slots ---
__aicore__ inline uint64_t ExpertsPerRank(const WindowShape &s) {
  return s.expert_num / (s.world_size - s.shared_ranks);
}
__aicore__ inline uint64_t SlotNum(const WindowShape &s) { return s.shared_ranks + s.expert_num; }
__aicore__ inline uint64_t SlotsOf(const WindowShape &s, uint64_t rank) {
  return rank < s.shared_ranks ? 1 : ExpertsPerRank(s);
}
__aicore__ inline uint64_t FirstSlot(const WindowShape &s, uint64_t rank) {
  return rank < s.shared_ranks ? rank : s.shared_ranks + (rank - s.shared_ranks) * ExpertsPerRank(s);
}
__aicore__ inline uint64_t OwnerOfSlot(const WindowShape &s, uint64_t slot) {
  return slot < s.shared_ranks ? slot : s.shared_ranks + (slot - s.shared_ranks) / ExpertsPerRank(s);
}

// --- header ---
__aicore__ inline uint64_t FieldOffset(uint32_t field) { return field * sizeof(uint64_t); }
__aicore__ inline uint64_t RecordsOffset() { return RegionSize(kFieldCount * sizeof(uint64_t)); }
__aicore__ inline uint64_t RecordOffset(uint64_t block) { return RecordsOffset() + block * kLineBytes; }

// --- peers ---
__aicore__ inline uint64_t PeersOffset(const WindowShape &s) {
  return RecordsOffset() + RegionSize(s.block_dim * kLineBytes);
}

// [R] bytes: 1 for a rank that takes part.
__aicore__ inline uint64_t LiveOffset(const WindowShape &s) {
  return PeersOffset(s) + RegionSize(s.world_size * sizeof(uint64_t));
}

// --- counts ---
__aicore__ inline uint64_t CountsRowBytes(const WindowShape &s) {
  return RoundUp((SlotNum(s) + 1) * sizeof(uint64_t), kLineBytes);
}
__aicore__ inline uint64_t CountsOffset(const WindowShape &s) {
  return LiveOffset(s) + RegionSize(s.world_size);
}
__aicore__ inline uint64_t CountsRowOffset(const WindowShape &s, uint64_t exchange, uint64_t source) {
  return CountsOffset(s) + ((exchange & 1) * s.world_size + source) * CountsRowBytes(s);
}

// --- flags ---
__aicore__ inline uint64_t ArrivedOffset(const WindowShape &s) {
  return CountsOffset(s) + RegionSize(2 * s.world_size * CountsRowBytes(s));
}
__aicore__ inline uint64_t ReadyOffset(const WindowShape &s) {
  return ArrivedOffset(s) + RegionSize(s.world_size * kLineBytes);
}
__aicore__ inline uint64_t HandedOffset(const WindowShape &s) {
  return ReadyOffset(s) + RegionSize(s.world_size * kLineBytes);
}
__aicore__ inline uint64_t AbortedOffset(const WindowShape &s) {
  return HandedOffset(s) + RegionSize(s.world_size * kLineBytes);
}

// [R] lines: what each rank tells when the hosts meet to resume after a failure.
__aicore__ inline uint64_t MeetingOffset(const WindowShape &s, uint64_t rank) {
  return AbortedOffset(s) + RegionSize(s.world_size * kLineBytes) + rank * kLineBytes;
}

// --- scratch ---
__aicore__ inline uint64_t TableRowBytes(uint64_t entries) { return RoundUp(entries * sizeof(int32_t), kLineBytes); }
// [blocks][slots] int32: how many of a block's own (token, k) go to each slot.
__aicore__ inline uint64_t HistogramOffset(const WindowShape &s, uint64_t block) {
  return MeetingOffset(s, 0) + RegionSize(s.world_size * kLineBytes) + block * TableRowBytes(SlotNum(s));
}
// [blocks][slots] int32: the row of a block's next token for each slot, while the block places its tokens.
__aicore__ inline uint64_t NextRowsOffset(const WindowShape &s, uint64_t block) {
  return HistogramOffset(s, 0) + RegionSize(s.block_dim * TableRowBytes(SlotNum(s))) +
         block * TableRowBytes(SlotNum(s));
}
// [slots] int32: the row of this rank's first token for each slot, in the window of the slot's rank.
__aicore__ inline uint64_t FirstRowsOffset(const WindowShape &s) {
  return NextRowsOffset(s, 0) + RegionSize(s.block_dim * TableRowBytes(SlotNum(s)));
}
// [slots] int32: one past the row of this rank's last token that is not dropped.
__aicore__ inline uint64_t LastRowsOffset(const WindowShape &s) {
  return FirstRowsOffset(s) + RegionSize(TableRowBytes(SlotNum(s)));
}
// [slots of this rank] int32: the rows that came, for a dispatch that follows a kept plan.
__aicore__ inline uint64_t ReceivedOffset(const WindowShape &s) {
  return LastRowsOffset(s) + RegionSize(TableRowBytes(SlotNum(s)));
}
// [R] int32: rows that each source sends to this rank.
__aicore__ inline uint64_t SourcesOffset(const WindowShape &s) {
  return ReceivedOffset(s) + RegionSize(TableRowBytes(ExpertsPerRank(s)));
}
// [R] int32: rows that this rank sends to each destination.
__aicore__ inline uint64_t DestinationsOffset(const WindowShape &s) {
  return SourcesOffset(s) + RegionSize(TableRowBytes(s.world_size));
}
// [R] int64: rows that were dropped since the window was made, from each source to this rank, and to each destination.
__aicore__ inline uint64_t DroppedFromOffset(const WindowShape &s) {
  return DestinationsOffset(s) + RegionSize(TableRowBytes(s.world_size));
}
__aicore__ inline uint64_t DroppedToOffset(const WindowShape &s) {
  return DroppedFromOffset(s) + RegionSize(s.world_size * sizeof(uint64_t));
}
// [R] int32 each: the same of the last exchange alone. Only if the window drops.
__aicore__ inline uint64_t LastDroppedFromOffset(const WindowShape &s) {
  return DroppedToOffset(s) + RegionSize(s.world_size * sizeof(uint64_t));
}
__aicore__ inline uint64_t LastDroppedToOffset(const WindowShape &s) {
  return LastDroppedFromOffset(s) + RegionSize(TableRowBytes(s.world_size));
}
// [blocks] lines of NoteField words: what a block tells the others of its rank at a barrier.
__aicore__ inline uint64_t NoteOffset(const WindowShape &s, uint64_t block) {
  return LastDroppedToOffset(s) + RegionSize(TableRowBytes(s.world_size)) + block * kLineBytes;
}
// [blocks][phases][R] 64-bit cycles that a block has waited for each rank, if the window keeps statistics.
__aicore__ inline uint64_t WaitedOffset(const WindowShape &s, uint64_t block, uint64_t phase) {
  return NoteOffset(s, 0) + RegionSize(s.block_dim * kLineBytes) +
         (block * kWaitPhases + phase - kWaitCounts) * RoundUp(s.world_size * sizeof(uint64_t), kLineBytes);
}
// The tables of a window with balanced prefill, empty in others.
__aicore__ inline uint64_t Balanced(const WindowShape &s, uint64_t bytes) {
  return s.pooled_tokens > 0 ? RegionSize(bytes) : 0;
}
// [R destinations][R] int32: the rows that each rank sends there.
__aicore__ inline uint64_t SharesOffset(const WindowShape &s, uint64_t destination) {
  return RegionSize(WaitedOffset(s, s.block_dim, kWaitCounts)) + destination * TableRowBytes(s.world_size);
}
// [R] int32: the rows that each rank sends, ~rows of one that moves all of them itself, and none of others.
__aicore__ inline uint64_t LoadsOffset(const WindowShape &s) {
  return SharesOffset(s, 0) + Balanced(s, s.world_size * TableRowBytes(s.world_size));
}
// [R] int32: the rows for this rank that each rank brings.
__aicore__ inline uint64_t BringersOffset(const WindowShape &s) {
  return LoadsOffset(s) + Balanced(s, TableRowBytes(s.world_size));
}
// [R] int32: the rows that this rank brings to each, of whomever they are.
__aicore__ inline uint64_t MovesOffset(const WindowShape &s) {
  return BringersOffset(s) + Balanced(s, TableRowBytes(s.world_size));
}
// [R] int32: the rows of this rank that each moves for it, and the rows of each that this one moves.
__aicore__ inline uint64_t HelpersOffset(const WindowShape &s) {
  return MovesOffset(s) + Balanced(s, TableRowBytes(s.world_size));
}
__aicore__ inline uint64_t HelpedOffset(const WindowShape &s) {
  return HelpersOffset(s) + Balanced(s, TableRowBytes(s.world_size));
}
// [slots] int32: the rows of this rank for each slot.
__aicore__ inline uint64_t OwnRowsOffset(const WindowShape &s) {
  return HelpedOffset(s) + Balanced(s, TableRowBytes(s.world_size));
}
// [slots] int32: what to add to a row of this rank's for its place in the order of (slot, token).
__aicore__ inline uint64_t ShiftsOffset(const WindowShape &s) {
  return OwnRowsOffset(s) + Balanced(s, TableRowBytes(SlotNum(s)));
}

// --- rows ---
__aicore__ inline uint64_t ControlBytes(const WindowShape &s) {
  return ShiftsOffset(s) + Balanced(s, TableRowBytes(SlotNum(s)));
}
__aicore__ inline uint64_t RowsOffset(const WindowShape &s) { return ControlBytes(s); }
__aicore__ inline uint64_t ScalesOffset(const WindowShape &s) {
  return RowsOffset(s) + RegionSize(s.capacity * s.row_bytes);
}
__aicore__ inline uint64_t OutputsOffset(const WindowShape &s) {
  return ScalesOffset(s) + RegionSize(s.capacity * sizeof(float));
}
// [pooled tokens] rows of x, and [pooled pairs] entries: what this rank hands over.
__aicore__ inline uint64_t InputOffset(const WindowShape &s, uint64_t token) {
  return OutputsOffset(s) + RegionSize(s.capacity * s.row_bytes) + token * s.row_bytes;
}
__aicore__ inline uint64_t EntryOffset(const WindowShape &s, uint64_t entry) {
  return InputOffset(s, 0) + Balanced(s, s.pooled_tokens * s.row_bytes) + entry * kEntryWords * sizeof(int32_t);
}
__aicore__ inline uint64_t WindowBytes(const WindowShape &s) {
  return EntryOffset(s, 0) + Balanced(s, s.pooled_pairs * kEntryWords * sizeof(int32_t));
}
__aicore__ inline uint64_t RowOffset(const WindowShape &s, uint64_t row) { return RowsOffset(s) + row * s.row_bytes; }
// Rows quantised to int8 lie in the same bytes, closer together: a row is a whole number of 32 bytes again.
__aicore__ inline uint64_t QuantisedRowBytes(uint64_t hidden_size) { return RoundUp(hidden_size, kRowAlign); }
__aicore__ inline uint64_t QuantisedRowOffset(const WindowShape &s, uint64_t hidden_size, uint64_t row) {
  return RowsOffset(s) + row * QuantisedRowBytes(hidden_size);
}
__aicore__ inline uint64_t ScaleOffset(const WindowShape &s, uint64_t row) {
  return ScalesOffset(s) + row * sizeof(float);
}
__aicore__ inline uint64_t OutputOffset(const WindowShape &s, uint64_t row) {
  return OutputsOffset(s) + row * s.row_bytes;
}

}  // namespace moe_comm

#endif  // MOE_COMM_CONTRACT_WINDOW_LAYOUT_H
