/* The sizes, the windows, and the row moves that are under way: op_impl/contract/window_schema.h in miniature.
 *
 * What is left out, and why nothing is lost by it:
 *   one expert per rank           the offset sum over a rank's earlier experts is arithmetic, which unit tests cover
 *   one token per core            it goes to any subset of the ranks, so a rank sends 0 .. C rows to each rank
 *   a row is one value            (epoch, core that sent it); a torn row shows as the old value, read a moment earlier
 *   words land when stored        a late word differs only until its core's next fence, and every write of that core
 *                                 that another rank can see comes after that fence: the two orders look the same.
 *                                 LATE_WORDS (2 ranks of 1 core) lets them land late, to check this
 *   a counts row lands whole      each word carries its own tag and is tested by itself
 *   what was read is forgotten    (set to 0): it carries an old epoch and would be refused like 0. Without this every
 *                                 state would remember all earlier routings. KEEP_FLAGS turns it off for the flags
 *   epochs run in a ring         when EPOCHS is 0, so that a finite model has no last epoch; ranks are never more
 *                                 than one exchange apart, which the model checks by finding no stale word at all
 */
#ifndef R
#define R 2               /* ranks */
#endif
#ifndef C
#define C 1               /* cores of each rank: 1 or 2 */
#endif
#ifndef CAP
#define CAP (R * C)       /* rows of a window: all that all ranks can send, unless overflow is tested */
#endif
#ifndef EPOCHS
#define EPOCHS 0          /* the last epoch; 0: epochs without end */
#endif
#ifndef TAG_VALUES
#if defined(REUSE)
#define TAG_VALUES 8      /* more than the epochs of two exchanges */
#else
#define TAG_VALUES 4      /* values of a counts word's epoch tag: it wraps, as the 32 bits of the code do */
#endif
#endif
#ifndef FLAG_VALUES
#define FLAG_VALUES 256   /* values of arrived and ready: they never wrap, like the 64 bits of the code */
#endif

#if defined(TRACE)
#define SAY(...) printf(__VA_ARGS__);    /* only inside an atomic step */
#else
#define SAY(...)
#endif

#define RING (2 * TAG_VALUES)
#define ALL ((1 << R) - 1)
#define BIT(set, i) (((set) >> (i)) & 1)
#if defined(IN_ORDER)
#define TURN(i) ((todo & ((2 << (i)) - 1)) == 1 << (i))   /* i is the lowest member of `todo` */
#else
#define TURN(i) BIT(todo, i)
#endif
#define RANK (me / C)
#define BLOCK (me % C)
#if EPOCHS
#define NEXT(epoch) ((epoch) + 1)
#else
#define NEXT(epoch) ((epoch) % RING + 1)
#endif

/* Ranks begin .. end of this core's share, as Share() in moves.h. */
#define SHARE_BEGIN(block) (R * (block) / C)
#define SHARE (((1 << SHARE_BEGIN(BLOCK + 1)) - 1) & ~((1 << SHARE_BEGIN(BLOCK)) - 1))

/* A counts row holds for each core of its source the set of ranks that the core's token goes to. */
#if C == 1
#define COUNT(row, rank) BIT(row, rank)
#define TARGETS(row) (row)
#define COUNTS_ROW(rank) going[rank]
#else
#define COUNT(row, rank) (BIT(row, rank) + BIT(row, R + (rank)))
#define TARGETS(row) (((row) | ((row) >> R)) & ALL)
#define COUNTS_ROW(rank) (going[(rank) * C] | (going[(rank) * C + 1] << R))
#endif
#define ROW_OF(epoch, core) ((epoch) * 8 + (core) + 1)

/* The windows. Counts words, flags and aborts are written by peers, the others by their own rank's cores. */
byte counts[R * 2 * R];       /* [rank][parity][source] */
byte counts_epoch[R * 2 * R];
byte flag[2 * R * R];         /* [arrived, ready][rank][peer] epoch */
byte aborted[R];              /* [rank] set of ranks that have given up */
byte rows[R * CAP];
byte outputs[R * CAP];
byte new_outputs[R * CAP];    /* made by the experts and on their way to `outputs`; 0: none */
byte seen[R * R];             /* [rank][source] scratch: the counts matrix that the rank works with */
bool record[R * C];           /* a core's error record */

/* A core's own routing, its expand_idx, and its rows that have not landed. */
byte going[R * C];            /* set of ranks */
byte place[R * C * R];
byte moving[R * C];           /* set of ranks */
byte moving_epoch[R * C];

byte i, k, at, need;          /* used within an atomic step, and 0 afterwards */

#define PARITY_WORD(rank, source) (((rank) * 2 + PARITY) * R + (source))
#if defined(W_ONE_PARITY)
#define PARITY 0
#elif defined(W_PARITY_BY_EPOCH)
#define PARITY (epoch & 1)
#else
#define PARITY (exchange & 1)
#endif

/* A core brings the rows block, block + C, .. of the outputs. Rows past the window's end count as landed. */
#define LANDED(rank, row) ((row) >= CAP || new_outputs[(rank) * CAP + (row) % CAP] == 0)
#define OUTPUTS_OF(rank, block) \
    (LANDED(rank, block) && LANDED(rank, (block) + C) && LANDED(rank, (block) + 2 * C))

#define ARRIVED 0
#define READY (R * R)
#if defined(LATE_WORDS)
byte words[3 * R];            /* [counts, arrived, ready][source] 1: the word to the peer is under way */
byte words_epoch[R];
bit words_parity[R];
#define FENCED (moving[me] == 0 && !words[RANK] && !words[R + RANK] && !words[2 * R + RANK])
#define LAND_COUNTS(source) :: d_step { words[source] -> words[source] = 0; \
    counts[((1 - source) * 2 + words_parity[source]) * R + source] = going[source]; \
    counts_epoch[((1 - source) * 2 + words_parity[source]) * R + source] = words_epoch[source] }
#define LAND_FLAG(flags, source) :: d_step { words[(1 + flags / (R * R)) * R + source] -> \
    words[(1 + flags / (R * R)) * R + source] = 0; flag[flags + (1 - source) * R + source] = words_epoch[source] }
#else
#define FENCED (moving[me] == 0)
#endif

/* Rows and outputs land in any order and at any time; a fence waits until none is left. */
inline land_row(core) {
    if
    :: BIT(moving[core], 0) -> i = 0
    :: BIT(moving[core], 1) -> i = 1
#if R > 2
    :: BIT(moving[core], 2) -> i = 2
#endif
    fi;
    SAY("      a row of rank %d, core %d, epoch %d lands in rank %d, row %d\n",
        core / C, core % C, moving_epoch[core], i, place[core * R + i])
    rows[i * CAP + place[core * R + i]] = ROW_OF(moving_epoch[core], core);
    moving[core] = moving[core] & ~(1 << i);
    if :: moving[core] == 0 -> moving_epoch[core] = 0 :: else fi;
    i = 0
}
#define LAND_ROW(core) :: atomic { moving[core] != 0 -> land_row(core) }
#define LAND_OUTPUT(row) \
    :: d_step { \
        new_outputs[row] != 0 -> \
        SAY("      output row %d of rank %d lands\n", (row) % CAP, (row) / CAP) \
        outputs[row] = new_outputs[row]; \
        new_outputs[row] = 0 \
    }

active proctype memory() {
end:
    do
#if defined(LATE_WORDS)
    LAND_COUNTS(0)
    LAND_COUNTS(1)
    LAND_FLAG(ARRIVED, 0)
    LAND_FLAG(ARRIVED, 1)
    LAND_FLAG(READY, 0)
    LAND_FLAG(READY, 1)
#endif
    LAND_ROW(0)
    LAND_ROW(1)
    LAND_OUTPUT(0)
    LAND_OUTPUT(1)
#if R * C > 2
    LAND_ROW(2)
#endif
#if R * C > 3
    LAND_ROW(3)
#endif
#if R * C > 4
    LAND_ROW(4)
    LAND_ROW(5)
#endif
#if R * CAP > 2
    LAND_OUTPUT(2)
#endif
#if R * CAP > 3
    LAND_OUTPUT(3)
#endif
#if R * CAP > 4
    LAND_OUTPUT(4)
    LAND_OUTPUT(5)
#endif
#if R * CAP > 6
    LAND_OUTPUT(6)
    LAND_OUTPUT(7)
#endif
#if R * CAP > 8
    LAND_OUTPUT(8)
#endif
    od
}
