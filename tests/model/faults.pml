/* Barriers, error records, aborts, deadlines and ranks that stop: failure.h and wait.h.
 *
 * FAULTS says which deadlines can pass:
 *   NONE   none, so that a wait without an end is a deadlock that Spin reports
 *   STOP   one rank may stop at any moment, and a deadline passes only in a wait for this rank: all others must learn
 *          of it by an abort, or they deadlock here (in the code they would wait for another deadline each)
 *   LATE   any deadline at any moment, without a cause: ranks that are merely slow
 * Left out: what a record says; the 16 polls between two looks at the aborts; the kernels' order of polling. */
#define NONE 0
#define STOP 1
#define LATE 2
#ifndef FAULTS
#define FAULTS NONE
#endif

byte stopped;                 /* set of ranks that have stopped; only their writes that are under way still land */

#if FAULTS == STOP
active proctype fault() {
#if defined(LAST_STOPS)
    if
    :: stopped = 1 << (R - 1)
    :: skip
    fi
#else
    if
    :: stopped = 1
    :: stopped = 2
#if R > 2
    :: stopped = 4
#endif
    :: skip
    fi
#endif
}
#endif

#if defined(W_NO_DEADLINE) || FAULTS == NONE
#define DEADLINE(missing) false
#elif FAULTS == STOP
#define DEADLINE(missing) (((missing) & stopped) != 0)
#else
#define DEADLINE(missing) true
#endif

/* The messages of properties that fail; Spin's own message names only the line. */
#define MUST(condition, text) \
    if :: condition :: else -> printf(text); assert(false) fi

#if C == 1
#define RECORDS(rank) record[rank]
#else
#define RECORDS(rank) (record[(rank) * C] || record[(rank) * C + 1])
#endif

/* Failure::Record: the own record first, then one peer after the other. */
inline give_up() {
    atomic {
        SAY("rank %d, core %d: gives up epoch %d\n", RANK, BLOCK, epoch)
        failed = 1;
        record[me] = 1;
        aborted[RANK] = aborted[RANK] | (1 << RANK);
        todo = ALL & ~(1 << RANK)
    };
#if !defined(W_NO_ABORT)
    do
    :: atomic { BIT(todo, 0) -> aborted[0] = aborted[0] | (1 << RANK); todo = todo & ~1 }
    :: atomic { TURN(1) -> aborted[1] = aborted[1] | (1 << RANK); todo = todo & ~2 }
#if R > 2
    :: atomic { TURN(2) -> aborted[2] = aborted[2] | (1 << RANK); todo = todo & ~4 }
#endif
    :: todo == 0 -> break
    od
#else
    todo = 0
#endif
}

/* How a wait for the ranks in `missing` fails. `barriers`: the barriers that this core still has to join. A core whose
   neighbour has failed adopts the failure, without a record of its own. */
#define UNLESS_LOST(missing, barriers) \
    :: (missing) != 0 && (aborted[RANK] & ~(1 << RANK)) != 0 -> left = barriers; goto lost \
    :: (missing) != 0 && BIT(aborted[RANK], RANK) -> failed = 1; left = barriers; goto rejoin \
    :: (missing) != 0 && DEADLINE(missing) -> left = barriers; goto lost

/* Failure::Barrier: `fenced` has landed before (PipeBarrier); then SyncAll; then it reads all records. */
#if C > 1
#define DEAD at_end[RANK]
byte inside[R];
bit turn[R];
bool at_end[R];               /* whether the rank has a record when its last core has come to the barrier */
#define ARRIVE \
    sense = 1 - sense; \
    if \
    :: inside[RANK] + 1 == C -> inside[RANK] = 0; turn[RANK] = sense; at_end[RANK] = RECORDS(RANK) \
    :: else -> inside[RANK]++ \
    fi
#define RELEASED (turn[RANK] == sense)
#else
#define DEAD record[me]
#define ARRIVE skip
#define RELEASED true
#endif
#if defined(W_STATUS_STAYS)
#define STATUS failed
#elif defined(W_FEWER_RECORDS)
#define STATUS (failed || (combining -> record[RANK * C] : RECORDS(RANK)))
#else
#define STATUS (failed || RECORDS(RANK))
#endif

/* Used within an atomic step, which ends where the barrier has to wait. */
#define BARRIER(fenced) (fenced); ARRIVE; RELEASED; failed = STATUS
