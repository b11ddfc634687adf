/* The window protocol of ms_moe_comm (DESIGN.md section 3) as its kernels run it, for Spin.
 *
 * One process is one core of one rank. It runs dispatch, the expert matmul and combine as the kernels in
 * op_impl/common/kernel do: dispatch.h (Plan, Complete), exchange.h, flags.h, combine.h (Open). Prefill and decode
 * differ in how rows are split over cores and batched and not in the protocol, so one stands for both.
 * Routing, the order of landing, interleaving and faults are free: Spin tries all.
 *
 * Each W_... macro weakens one rule; tests/model.sh runs them all and expects each to fail. */
#include "memory.pml"
#include "faults.pml"

/* What all ranks call next, agreed by the program that they all run; the first rank to get there chooses. */
#define UNKNOWN 0
#define DISPATCH_ONLY 1
#define COMBINE 2
#define COMBINE_AND_REUSE 3   /* a second dispatch with the kept plan, then its combine */
byte calls[4];
byte verdict[4];              /* 1: fits; 2 + rank: its window is too small */

#if defined(W_NO_FENCE_BEFORE_ARRIVED)
#define ROWS_FENCED true
#else
#define ROWS_FENCED (moving[me] == 0)
#endif
#if defined(W_NO_FENCE_BEFORE_READY)
#define OUTPUTS_FENCED true
#else
#define OUTPUTS_FENCED OUTPUTS_OF(RANK, BLOCK)
#endif

inline agree_on_calls() {
    if
    :: calls[exchange] == UNKNOWN ->
        if
        :: calls[exchange] = DISPATCH_ONLY
        :: calls[exchange] = COMBINE
#if defined(REUSE)
        :: calls[exchange] = COMBINE_AND_REUSE
#endif
        fi;
        calls[(exchange + 2) % 4] = UNKNOWN;
        verdict[(exchange + 2) % 4] = 0
    :: else
    fi
}

/* Where this core's token goes: to any set of the ranks, to at most one of them, or (2 ranks) at most to the peer. */
inline select_routing() {
#if defined(PEER_ONLY)
    if
    :: going[me] = 0
    :: going[me] = 2 - RANK
    fi
#elif defined(ONE_DESTINATION)
    if
    :: going[me] = 0
    :: going[me] = 1
    :: going[me] = 2
#if R > 2
    :: going[me] = 4
#endif
    fi
#else
    going[me] = 0;
    if :: going[me] = going[me] | 1 :: skip fi;
    if :: going[me] = going[me] | 2 :: skip fi
#if R > 2
    ; if :: going[me] = going[me] | 4 :: skip fi
#endif
#endif
}

/* --- counts --- */
#if defined(W_COUNTS_AT_LEAST)
#define IS_CURRENT(word) (counts_epoch[word] % TAG_VALUES >= epoch % TAG_VALUES)
#else
#define IS_CURRENT(word) (counts_epoch[word] % TAG_VALUES == epoch % TAG_VALUES)
#endif
#define MISSES(source) (IS_CURRENT(PARITY_WORD(RANK, source)) -> 0 : 1 << source)
#if R > 2
#define COUNTS_MISSING (AWAITED & (MISSES(0) | MISSES(1) | MISSES(2)))
#else
#define COUNTS_MISSING (AWAITED & (MISSES(0) | MISSES(1)))
#endif
#if defined(W_COUNTS_BELOW)
#define AWAITED (fits -> ALL : (2 << RANK) - 1)   /* first what its own row addresses need, all after its rows */
#else
#define AWAITED ALL
#endif

inline store_counts(peer) {
    counts[PARITY_WORD(peer, RANK)] = COUNTS_ROW(RANK);
    counts_epoch[PARITY_WORD(peer, RANK)] = epoch;
    todo = todo & ~(1 << peer)
}

/* The stores to the peers; the one to the own window was made before, which no other rank can tell. */
inline publish_counts() {
    do
    :: atomic { BIT(todo, 0) -> store_counts(0) }
    :: atomic { TURN(1) -> store_counts(1) }
#if R > 2
    :: atomic { TURN(2) -> store_counts(2) }
#endif
    :: atomic { todo == 0 -> break }
    od
}

#define KEEP(set) (((set) * (1 + (C - 1) * (1 << R))) & 255)  /* the same ranks for each core of a counts row */

/* Takes the columns of this core's share of the destinations from the words that are there. */
inline take_counts() {
    i = 0;
    do
    :: i < R ->
        at = PARITY_WORD(RANK, i);
        if
        :: BIT(AWAITED, i) ->
            MUST(counts_epoch[at] == epoch, "BROKEN: a counts word of another epoch was accepted\n");
            seen[RANK * R + i] = (seen[RANK * R + i] & ~KEEP(SHARE)) | (counts[at] & KEEP(SHARE))
        :: else
        fi;
        i++
    :: else -> break
    od;
    i = 0; at = 0
}

inline total_rows(rank) {
    need = 0; k = 0;
    do
    :: k < R -> need = need + COUNT(seen[RANK * R + k], rank); k++
    :: else -> break
    od
}

inline decide() {
    i = 0; fits = 1; at = 1;
    do
    :: i < R ->
        total_rows(i);
#if defined(W_OWN_CAPACITY)
        if :: need > CAP && i == RANK && fits -> fits = 0; at = 2 + i :: else fi;
#else
        if :: need > CAP && fits -> fits = 0; at = 2 + i :: else fi;
#endif
        i++
    :: else -> break
    od;
    MUST(verdict[exchange] == 0 || verdict[exchange] == at, "BROKEN: two ranks differ on whether the rows fit\n");
    verdict[exchange] = at;
    i = 0; k = 0; at = 0; need = 0
}

/* --- rows --- */
inline find_places() {
    i = 0;
    do
    :: i < R ->
        if
        :: BIT(going[me], i) ->
            need = 0; k = 0;
            do
            :: k < RANK -> need = need + COUNT(seen[RANK * R + k], i); k++
            :: else -> break
            od;
#if C > 1
            if :: BLOCK == 1 -> need = need + BIT(going[me - 1], i) :: else fi;
#endif
            MUST(need < CAP, "BROKEN: a row was placed past the end of a window\n");
            place[me * R + i] = need
        :: else
        fi;
        i++
    :: else -> break
    od;
    i = 0; k = 0; need = 0
}

/* --- flags --- */
#define IS_SOURCE(rank) (COUNT(seen[RANK * R + rank], RANK) > 0 -> 1 << rank : 0)
#if R > 2
#define SOURCES (SHARE & (IS_SOURCE(0) | IS_SOURCE(1) | IS_SOURCE(2)))
#else
#define SOURCES (SHARE & (IS_SOURCE(0) | IS_SOURCE(1)))
#endif
#define DESTINATIONS (SHARE & TARGETS(seen[RANK * R + RANK]))
#if defined(W_FLAGS_OF_ALL)
#define AWAITED_OF(set) SHARE
#else
#define AWAITED_OF(set) set
#endif
#define LACKS(flags, rank) (flag[flags + RANK * R + rank] % FLAG_VALUES == epoch % FLAG_VALUES -> 0 : 1 << rank)
#if R > 2
#define FLAGS_MISSING(flags) (LACKS(flags, 0) | LACKS(flags, 1) | LACKS(flags, 2))
#else
#define FLAGS_MISSING(flags) (LACKS(flags, 0) | LACKS(flags, 1))
#endif

inline store_flag(flags, peer) {
    flag[flags + peer * R + RANK] = epoch;
    todo = todo & ~(1 << peer)
}

inline publish(flags) {
    do
    :: atomic { BIT(todo, 0) -> store_flag(flags, 0) }
    :: atomic { TURN(1) -> store_flag(flags, 1) }
#if R > 2
    :: atomic { TURN(2) -> store_flag(flags, 2) }
#endif
    :: atomic { todo == 0 -> break }
    od
}

/* After a wait for `set` that did not fail. */
inline take_flags(flags, set) {
    i = 0;
    do
    :: i < R ->
        if
        :: BIT(set, i) ->
            MUST(flag[flags + RANK * R + i] == epoch, "BROKEN: a flag of another epoch was accepted\n");
#if !defined(KEEP_FLAGS)
            flag[flags + RANK * R + i] = 0
#endif
        :: else
        fi;
        i++
    :: else -> break
    od;
    i = 0
}

/* --- experts --- */
/* Reads every row that was placed here, in the order of the row address, and makes an output of each. Between
   dispatch and this the other ranks go on, so it stands for a read at any moment up to the kernel's end. */
inline run_experts() {
    i = 0; at = 0;
    do
    :: i < R * C ->
        if
        :: BIT(seen[RANK * R + i / C], (i % C) * R + RANK) ->
            MUST(rows[RANK * CAP + at] == ROW_OF(epoch, i), "BROKEN: an expert read a row of another epoch or source\n");
            rows[RANK * CAP + at] = 0;
            if
            :: calls[exchange] != DISPATCH_ONLY -> new_outputs[RANK * CAP + at] = ROW_OF(epoch, i)
            :: else
            fi;
            at++
        :: else
        fi;
        i++
    :: else -> break
    od;
    i = 0; at = 0
}

/* --- combine --- */
inline read_outputs() {
    i = 0;
    do
    :: i < R ->
        if
        :: BIT(going[me], i) ->
            at = i * CAP + place[me * R + i];
            MUST(outputs[at] == ROW_OF(epoch, me), "BROKEN: combine read an output of another epoch or token\n");
            outputs[at] = 0
        :: else
        fi;
        i++
    :: else -> break
    od;
    i = 0; at = 0
}

/* What the next exchange does not need; see `what was read is forgotten`. */
inline forget() {
    i = 0;
    do
    :: i < R ->
        seen[RANK * R + i] = seen[RANK * R + i] & ~KEEP(SHARE);
        place[me * R + i] = 0;
        if
        :: BLOCK == 0 && counts_epoch[PARITY_WORD(RANK, i)] == epoch -> counts[PARITY_WORD(RANK, i)] = 0
        :: else
        fi;
        i++
    :: else -> break
    od;
    going[me] = 0;
    i = 0
}

#if defined(W_COUNTS_TO_DESTINATIONS)
#define FIRST_STORES (SHARE & (TARGETS(COUNTS_ROW(RANK)) | 1 << RANK))
#else
#define FIRST_STORES SHARE
#endif
#if defined(W_NO_BARRIER_BEFORE_ARRIVED)
#define BARRIER_BEFORE_ARRIVED (ROWS_FENCED)
#else
#define BARRIER_BEFORE_ARRIVED BARRIER(ROWS_FENCED)
#endif
#if defined(W_NO_BARRIER_BEFORE_READY)
#define BARRIER_BEFORE_READY (OUTPUTS_FENCED)
#else
#define BARRIER_BEFORE_READY BARRIER(OUTPUTS_FENCED)
#endif
#if defined(W_NO_BARRIER_BEFORE_COUNTS)
#define BARRIER_BEFORE_COUNTS (FENCED)
#else
#define BARRIER_BEFORE_COUNTS BARRIER(FENCED)
#endif
#if defined(W_FAILED_CORE_LEAVES)
#define JOIN_AFTER_FAILURE goto dead
#else
#define JOIN_AFTER_FAILURE BARRIER(FENCED)
#endif
/* The next kernel of this rank starts when all cores have ended this one, and their moves with them; not if one has
   a record, since the host then raises it. */
#define END_KERNEL (FENCED); ARRIVE; RELEASED; if :: DEAD -> goto dead :: else fi

proctype core(byte me) {
    byte epoch;       /* the header's kEpoch and kExchange (modulo 4) as of this kernel */
    byte exchange;
    byte todo;
    byte left;
    bool failed;
    bool fits;
    bool reuse;
#if C > 1
    bit sense;
#endif
    {
        skip;

next_exchange:                                             /* dispatch: Init, Count */
        atomic {
            if
            :: EPOCHS && epoch >= EPOCHS -> goto done
            :: else
            fi;
            epoch = NEXT(epoch);
            exchange = (exchange + 1) % 4;
            agree_on_calls();
            select_routing();
            BARRIER_BEFORE_COUNTS;                         /* 1 */
            if
            :: failed -> left = 2; goto rejoin
            :: else
            fi;
            todo = FIRST_STORES;
            if
            :: BIT(todo, RANK) -> store_counts(RANK)
            :: else
            fi
        }
        publish_counts();
        atomic {                                           /* Collect */
            if
            :: COUNTS_MISSING == 0 -> take_counts()
            UNLESS_LOST(COUNTS_MISSING, 2)
            fi;
            BARRIER(FENCED);                               /* 2 */
            if
            :: failed -> left = 1; goto rejoin
            :: else
            fi;
            decide();
            if
            :: !fits -> goto complete
            :: else -> find_places()
            fi
        }
place_rows:
        atomic {
            moving[me] == 0 -> moving[me] = going[me];
            if
            :: going[me] != 0 -> moving_epoch[me] = epoch
            :: else
            fi
        }
#if defined(W_COUNTS_BELOW)
        atomic { COUNTS_MISSING == 0 -> take_counts() }
#endif
complete:
        atomic {
            BARRIER_BEFORE_ARRIVED;                        /* 3 */
            if
            :: failed -> left = 0; goto rejoin
            :: !failed && !fits -> goto over
            :: else
            fi;
            todo = DESTINATIONS;
            if
            :: BIT(todo, RANK) -> store_flag(ARRIVED, RANK)
            :: else
            fi
        }
        publish(ARRIVED);
        atomic {
            if
            :: (AWAITED_OF(SOURCES) & FLAGS_MISSING(ARRIVED)) == 0 -> take_flags(ARRIVED, SOURCES)
            UNLESS_LOST(AWAITED_OF(SOURCES) & FLAGS_MISSING(ARRIVED), 0)
            fi;
            END_KERNEL
        }
        atomic {                                           /* the experts, a kernel of their own */
            if
            :: BLOCK == 0 -> run_experts()
            :: else
            fi;
            END_KERNEL;
            if
            :: calls[exchange] == DISPATCH_ONLY -> goto over
            :: else
            fi
        }
        atomic {                                           /* combine: Open */
            BARRIER_BEFORE_READY;                          /* 1 */
            if
            :: failed -> left = 1; goto rejoin
            :: else
            fi;
            todo = SOURCES;
            if
            :: BIT(todo, RANK) -> store_flag(READY, RANK)
            :: else
            fi
        }
        publish(READY);
        atomic {
            if
            :: (AWAITED_OF(DESTINATIONS) & FLAGS_MISSING(READY)) == 0 -> take_flags(READY, DESTINATIONS)
            UNLESS_LOST(AWAITED_OF(DESTINATIONS) & FLAGS_MISSING(READY), 1)
            fi;
            BARRIER(FENCED);                               /* 2 */
            if
            :: failed -> left = 0; goto rejoin
            :: else
            fi
        }
        atomic {                                           /* Reduce */
            read_outputs();
            END_KERNEL;
            if
            :: calls[exchange] == COMBINE_AND_REUSE && !reuse -> reuse = 1; epoch = NEXT(epoch); goto place_rows
            :: else
            fi;
            goto over
        }

lost:                                                      /* a wait in vain, or an input that is refused */
        give_up();
rejoin:                                                    /* no more work, but every barrier that is left */
        do
        :: atomic { left > 0 -> left--; JOIN_AFTER_FAILURE }
        :: atomic { left == 0 -> END_KERNEL; goto dead }
        od;

over:
        atomic {
            forget();
            reuse = 0;
            fits = 0;
            END_KERNEL;
            goto next_exchange
        }
    } unless { BIT(stopped, RANK) };
    goto done;
dead:
    skip;  /* the window is dead: its operators return the error at once, and touch nothing */
done:
    skip
}

init {
    atomic {
        i = 0;
        do :: i < R * C -> run core(i); i++ :: else -> break od;
        i = 0
    }
}
