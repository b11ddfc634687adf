// The schema of an expert window: each word of its header and each of its parts, once. Offsets, Python's layout, the
// memory report, the window's creation, the simulation and the tests read these two lists.
//
// A window is one region per rank, with the same layout on all ranks. Offsets are 64-bit bytes from the region's base.
// The parts from `header` to the last table are the tensor window.control.
//
// A slot is a place of a group's experts that gets rows of its own: first one for each rank that holds a shared expert
// (ranks 0 .. Q-1, no routed expert), then one for each routed physical expert. Without such ranks slots are experts.
#ifndef MOE_COMM_CONTRACT_WINDOW_SCHEMA_H
#define MOE_COMM_CONTRACT_WINDOW_SCHEMA_H

#include <cstdint>

#ifndef __aicore__
#define __aicore__  // host compilers; the kernel compiler brings its own
#endif

namespace moe_comm {

constexpr uint64_t kWindowMagic = 0x4d4f45434f4d4d31ULL;  // "MOECOMM1": magic and layout version in one
constexpr uint64_t kLineBytes = 64;                       // one flag or record per line: no false sharing
constexpr uint64_t kRegionAlign = 512;
constexpr uint64_t kRowAlign = 32;  // the unit of UB and of aligned moves: a row is a whole number of these
constexpr uint32_t kMaxBlocks = 64;
constexpr uint32_t kMaxTopK = 16;
constexpr uint32_t kMaxSharedExperts = 4;
constexpr uint32_t kMaxExperts = 65536;
constexpr uint32_t kMaxRanks = 1024;

// Who gives a word of the header its first value. Kernels advance words themselves, since the host's launch code does
// not run when a captured graph is replayed.
enum class Given : uint32_t {
  kAtCreation,  // the host, once; it never changes
  kZero,        // zero; the rank's kernels change it, and the host that resumes or looks for errors
  kByHost,      // zero; the host changes it around its launches
};

// clang-format off
// FIELD(constant, name, given): the 64-bit words at the start of a region.
#define MOE_COMM_WINDOW_FIELDS(FIELD)                                                                                  \
  FIELD(kMagic, magic, kAtCreation)                                                                                    \
  FIELD(kWorldSize, world_size, kAtCreation)          /* R */                                                          \
  FIELD(kRankId, rank_id, kAtCreation)                                                                                 \
  FIELD(kExpertNum, expert_num, kAtCreation)          /* E */                                                          \
  FIELD(kCapacity, capacity, kAtCreation)             /* A */                                                          \
  FIELD(kRowBytes, row_bytes, kAtCreation)                                                                             \
  FIELD(kBlockDim, block_dim, kAtCreation)            /* most cores of a kernel */                                     \
  FIELD(kMaxTokens, max_tokens, kAtCreation)          /* most T of a rank */                                           \
  FIELD(kTopK, top_k, kAtCreation)                    /* most K */                                                     \
  FIELD(kDtype, dtype, kAtCreation)                   /* Dtype of the rows */                                          \
  FIELD(kTimeoutUs, timeout_us, kAtCreation)                                                                           \
  FIELD(kSharedRankNum, shared_rank_num, kAtCreation) /* Q */                                                          \
  FIELD(kSharedExpertNum, shared_expert_num, kAtCreation) /* S on ranks of their own */                                \
  FIELD(kOverflowDrop, overflow_drop, kAtCreation)    /* 1: rows beyond the capacity are dropped, 0: an error */       \
  FIELD(kPooledTokens, pooled_tokens, kAtCreation)    /* most tokens of a rank if prefill is balanced, else 0 */       \
  FIELD(kPooledPairs, pooled_pairs, kAtCreation)      /*   and their (token, column) pairs */                          \
  FIELD(kKeepsStats, keeps_stats, kAtCreation)        /* 1: the kernels add up times and bytes */                      \
  FIELD(kEpoch, epoch, kZero)                         /* dispatches so far, and those given up for a resume */         \
  FIELD(kExchange, exchange, kZero)                   /* exchanges of counts so far; the lowest bit is the parity */   \
  FIELD(kPlacedEpoch, placed_epoch, kZero)            /* the last dispatch that placed its rows */                     \
  FIELD(kVerdictCode, verdict_code, kZero)            /* kOverflow until the host has told it; four words follow */    \
  FIELD(kVerdictRank, verdict_rank, kZero)            /*   the rank whose window is too small */                       \
  FIELD(kVerdictNeed, verdict_need, kZero)            /*   the rows that it would have got */                          \
  FIELD(kVerdictSource, verdict_source, kZero)        /*   the rank that sends it most */                              \
  FIELD(kVerdictEpoch, verdict_epoch, kZero)          /*   the dispatch */                                             \
  FIELD(kCombinedEpoch, combined_epoch, kZero)        /* the last dispatch whose combine has begun */                  \
  FIELD(kReceivedRows, received_rows, kZero)          /* rows that the last dispatch placed here */                    \
  FIELD(kCopiedBytes, copied_bytes, kZero)            /* bytes that the last combine copied into `outputs` */          \
  FIELD(kLeftRanks, left_ranks, kZero)                /* ranks that take no part any more */                           \
  FIELD(kResumeRounds, resume_rounds, kZero)          /* meetings of the hosts that are over: two for each resume */   \
  FIELD(kLostPairs, lost_pairs, kZero)                /* (token, k) of this rank whose expert was on such a rank */    \
  FIELD(kCountCycles, count_cycles, kZero)            /* sums at 50 MHz: dispatch counts its tokens, */                \
  FIELD(kExchangeCycles, exchange_cycles, kZero)      /*   exchanges counts with all ranks, */                         \
  FIELD(kPlaceCycles, place_cycles, kZero)            /*   places its rows, */                                         \
  FIELD(kArriveCycles, arrive_cycles, kZero)          /*   waits for the rows of its peers; */                         \
  FIELD(kOutputsCycles, outputs_cycles, kZero)        /*   combine brings outputs into the window, */                  \
  FIELD(kReadyCycles, ready_cycles, kZero)            /*   waits for those of its peers, */                            \
  FIELD(kReduceCycles, reduce_cycles, kZero)          /*   reads and adds them */                                      \
  FIELD(kSentRows, sent_rows, kZero)                  /* sums: rows that dispatch sent to other ranks, */              \
  FIELD(kSentBytes, sent_bytes, kZero)                /*   and their bytes; */                                         \
  FIELD(kReadBytes, read_bytes, kZero)                /*   bytes that combine read from other ranks */                 \
  FIELD(kDispatchCalls, dispatch_calls, kByHost)                                                                       \
  FIELD(kDispatchNanoseconds, dispatch_nanoseconds, kByHost)                                                           \
  FIELD(kCombineCalls, combine_calls, kByHost)                                                                         \
  FIELD(kCombineNanoseconds, combine_nanoseconds, kByHost)
// clang-format on

enum WindowField : uint32_t {
#define MOE_COMM_FIELD(constant, name, given) constant,
  MOE_COMM_WINDOW_FIELDS(MOE_COMM_FIELD)
#undef MOE_COMM_FIELD
};

#define MOE_COMM_FIELD(constant, name, given) +1
constexpr uint32_t kFieldCount = 0 MOE_COMM_WINDOW_FIELDS(MOE_COMM_FIELD);
#undef MOE_COMM_FIELD

__aicore__ inline constexpr uint64_t FieldOffset(uint32_t field) { return field * sizeof(uint64_t); }

// A block's line of notes: what it tells the others of its rank at a barrier. The verdict words stand as in the header.
enum NoteField : uint32_t {
  kNoteCode = 0,
  kNoteRank,
  kNoteNeed,
  kNoteSource,
  kNoteEpoch,
  kVerdictWords,
  kNoteWeight = kVerdictWords,  // of the tokens that the block counted
  kNoteRouting,                 // a hash of where they go; above it, how many pairs have lost their expert
  kNoteMap                      // a hash of the placement map, in the first block's line
};

// A counts row: what the ranks must agree on, then a word for each slot.
enum CountsWord : uint32_t { kAgreementWord = 0, kFirstSlotWord };

// What a rank hands over to another in a balanced prefill: a row of its x, and where it goes.
enum EntryField : uint32_t { kEntryToken = 0, kEntryRow, kEntryRank, kEntrySmooth, kEntryWords };

constexpr uint64_t kWaitPhases = 4;  // of Phase

// What the layout depends on.
struct WindowShape {
  uint64_t world_size;
  uint64_t expert_num;
  uint64_t block_dim;
  uint64_t capacity;
  uint64_t row_bytes;
  uint64_t shared_ranks = 0;
  uint64_t pooled_tokens = 0;
  uint64_t pooled_pairs = 0;
};

// The shape that a header tells. `read` gives the word of a field.
template <typename Read>
__aicore__ inline WindowShape ShapeOf(const Read &read) {
  return {read(kWorldSize), read(kExpertNum),     read(kBlockDim),     read(kCapacity),
          read(kRowBytes),  read(kSharedRankNum), read(kPooledTokens), read(kPooledPairs)};
}

__aicore__ inline uint64_t RoundUp(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }
__aicore__ inline uint64_t RegionSize(uint64_t bytes) { return RoundUp(bytes, kRegionAlign); }

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

// What a part holds before a kernel writes to it, and who may write while this rank reads.
enum class PartKind : uint32_t {
  kWords,  // zero or as created; this rank's kernels and its host write
  kFlags,  // zero; peers, or other cores of this rank, write while it is read
  kTable,  // nothing: scratch of this rank's kernels
  kRows,   // nothing: rows, their scales and outputs; peers write rows and read outputs
};

// Which windows use a part. A part of kBalanced takes no memory in other windows; all other parts always take memory.
enum class PartOf : uint32_t { kAll, kBalanced, kKeepsStats, kDrops };

// clang-format off
// PART(name, pieces, bytes of a piece, their alignment, kind, use): what a region consists of, in its order. `s` is the
// window's shape.
#define MOE_COMM_WINDOW_PARTS(PART)                                                                                    \
  PART(header, 1, kFieldCount * 8, 8, kWords, kAll)                                                                    \
  /* a record for each block: this rank's errors */                                                                    \
  PART(records, s.block_dim, kLineBytes, 8, kFlags, kAll)                                                              \
  /* 64-bit base address of each rank's region */                                                                      \
  PART(peers, s.world_size, 8, 8, kWords, kAll)                                                                        \
  /* bytes: 1 for a rank that takes part; read only once a rank has left */                                            \
  PART(live, s.world_size, 1, 1, kTable, kAll)                                                                         \
  /* [2 parities][R sources] rows of 64-bit words {epoch:32 | count:32}: CountsWord */                                 \
  PART(counts, 2 * s.world_size, (SlotNum(s) + 1) * 8, kLineBytes, kFlags, kAll)                                       \
  /* the epoch whose rows from that source have all landed */                                                          \
  PART(arrived, s.world_size, kLineBytes, 8, kFlags, kAll)                                                             \
  /* the epoch whose expert outputs on that rank may be read */                                                        \
  PART(ready, s.world_size, kLineBytes, 8, kFlags, kAll)                                                               \
  /* the epoch of which that rank has handed over rows to this one */                                                  \
  PART(handed, s.world_size, kLineBytes, 8, kFlags, kAll)                                                              \
  /* a record of the error that made that rank give up */                                                              \
  PART(aborted, s.world_size, kLineBytes, 8, kFlags, kAll)                                                             \
  /* what the hosts tell each other when they resume after a failure */                                                \
  PART(meeting, s.world_size, kLineBytes, 8, kFlags, kAll)                                                             \
  /* per block, [slots] int32: how many of its own (token, column) pairs go to each slot */                            \
  PART(histogram, s.block_dim, SlotNum(s) * 4, kLineBytes, kTable, kAll)                                               \
  /* per block, [slots] int32: the row of its next token for each slot, while it places its tokens */                  \
  PART(next_rows, s.block_dim, SlotNum(s) * 4, kLineBytes, kTable, kAll)                                               \
  /* [slots] int32: the row of this rank's first token for each slot, in the window of the slot's rank */              \
  PART(first_rows, SlotNum(s), 4, 4, kTable, kAll)                                                                     \
  /* [slots] int32: one past the row of this rank's last token that is not dropped */                                  \
  PART(last_rows, SlotNum(s), 4, 4, kTable, kDrops)                                                                    \
  /* [slots of this rank] int32: the rows that came, for a dispatch that follows a kept plan */                        \
  PART(received, ExpertsPerRank(s), 4, 4, kTable, kAll)                                                                \
  /* [R] int32: rows that each source sends to this rank, and this rank to each destination */                         \
  PART(sources, s.world_size, 4, 4, kTable, kAll)                                                                      \
  PART(destinations, s.world_size, 4, 4, kTable, kAll)                                                                 \
  /* [R] int64: rows dropped since the window was made, from each source, and to each destination */                   \
  PART(dropped_from, s.world_size, 8, 8, kWords, kAll)                                                                 \
  PART(dropped_to, s.world_size, 8, 8, kWords, kAll)                                                                   \
  /* [R] int32: the same of the last exchange alone */                                                                 \
  PART(last_dropped_from, s.world_size, 4, 4, kTable, kDrops)                                                          \
  PART(last_dropped_to, s.world_size, 4, 4, kTable, kDrops)                                                            \
  /* a line of NoteField words for each block */                                                                       \
  PART(notes, s.block_dim, kLineBytes, 8, kTable, kAll)                                                                \
  /* per block and phase, [R] 64-bit cycles waited for each rank */                                                    \
  PART(waited, s.block_dim * kWaitPhases, s.world_size * 8, kLineBytes, kWords, kKeepsStats)                           \
  /* per destination, [R] int32: the rows that each rank sends there */                                                \
  PART(shares, s.world_size, s.world_size * 4, kLineBytes, kTable, kBalanced)                                          \
  /* [R] int32: the rows that each rank sends; ~rows of one that moves all of them itself, and none of others */       \
  PART(loads, s.world_size, 4, 4, kTable, kBalanced)                                                                   \
  /* [R] int32: the rows for this rank that each brings, and the rows that this one brings to each */                  \
  PART(bringers, s.world_size, 4, 4, kTable, kBalanced)                                                                \
  PART(moves, s.world_size, 4, 4, kTable, kBalanced)                                                                   \
  /* [R] int32: the rows of this rank that each moves for it, and the rows of each that this one moves */              \
  PART(helpers, s.world_size, 4, 4, kTable, kBalanced)                                                                 \
  PART(helped, s.world_size, 4, 4, kTable, kBalanced)                                                                  \
  /* [slots] int32: this rank's rows for each slot; what to add to a row for its place by (slot, token) */             \
  PART(own_rows, SlotNum(s), 4, 4, kTable, kBalanced)                                                                  \
  PART(shifts, SlotNum(s), 4, 4, kTable, kBalanced)                                                                    \
  /* [A] rows: dispatch writes them from every rank; window.rows */                                                    \
  PART(rows, s.capacity, s.row_bytes, 1, kRows, kAll)                                                                  \
  /* [A] fp32: of rows quantised to int8; window.scales */                                                             \
  PART(scales, s.capacity, 4, 4, kRows, kAll)                                                                          \
  /* [A] rows: combine reads them from every rank; window.outputs */                                                   \
  PART(outputs, s.capacity, s.row_bytes, 1, kRows, kAll)                                                               \
  /* rows of x that other ranks move, and EntryField words that say where to */                                        \
  PART(inputs, s.pooled_tokens, s.row_bytes, 1, kRows, kBalanced)                                                      \
  PART(entries, s.pooled_pairs, kEntryWords * 4, 4, kRows, kBalanced)
// clang-format on

// Where a part lies: its piece i at offset + i * pitch.
struct PartPlace {
  uint64_t offset;
  uint64_t pitch;
  __aicore__ inline uint64_t operator()(uint64_t piece) const { return offset + piece * pitch; }
};

// All offsets of a window, computed once: by a kernel at its start, by the host when the window is created.
struct WindowLayout {
  WindowLayout() = default;
  __aicore__ inline explicit WindowLayout(const WindowShape &s) {
    uint64_t end = 0;
#define MOE_COMM_PART(name, pieces, piece_bytes, align, kind, use) \
  name = {end, RoundUp(piece_bytes, align)};                       \
  if (PartOf::use != PartOf::kBalanced || s.pooled_tokens > 0) end += RegionSize((pieces) * name.pitch);
    MOE_COMM_WINDOW_PARTS(MOE_COMM_PART)
#undef MOE_COMM_PART
    bytes = end;
  }

#define MOE_COMM_PART(name, pieces, piece_bytes, align, kind, use) PartPlace name;
  MOE_COMM_WINDOW_PARTS(MOE_COMM_PART)
#undef MOE_COMM_PART
  uint64_t bytes;
};

// The size of the tensor window.control.
__aicore__ inline uint64_t ControlBytes(const WindowLayout &layout) { return layout.rows.offset; }

// Where the counts row from `source` lies. Two successive exchanges never share one.
__aicore__ inline uint64_t CountsRow(const WindowLayout &layout, const WindowShape &s, uint64_t exchange,
                                     uint64_t source) {
  return layout.counts((exchange & 1) * s.world_size + source);
}

// Bytes of an [entries] int32 table in the unified buffer.
__aicore__ inline uint64_t TableRowBytes(uint64_t entries) { return RoundUp(entries * sizeof(int32_t), kLineBytes); }

// Rows quantised to int8 lie in the bytes of `rows`, closer together. A row is again a whole number of 32 bytes.
__aicore__ inline uint64_t QuantisedRowBytes(uint64_t hidden_size) { return RoundUp(hidden_size, kRowAlign); }
__aicore__ inline uint64_t QuantisedRow(const WindowLayout &layout, uint64_t hidden_size, uint64_t row) {
  return layout.rows.offset + row * QuantisedRowBytes(hidden_size);
}

}  // namespace moe_comm

#endif  // MOE_COMM_CONTRACT_WINDOW_SCHEMA_H
