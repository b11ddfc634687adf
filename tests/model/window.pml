/* The window protocol of ms_moe_comm as its kernels run it, for Spin.
 *
 * One process is one core of one rank. It runs dispatch, the expert matmul and combine as the kernels in
 * op_impl/kernel do: dispatch.h (Plan, Complete), exchange.h, flags.h, combine.h (Open). Prefill and decode
 * differ only in how rows are split over cores and batched, not in the protocol, so one stands for both.
 * Routing, the order of landing, interleaving and faults are free: Spin tries all.
 *
 * Deadlines are not clocks: faults.pml says when one may pass. Waits are guards and not polls, so that a wait without
 * an end is a deadlock, which Spin reports; between two exchanges a core can only go forward, so there is no livelock.
 *
 * Left out, besides what memory.pml and faults.pml name: caches and pipes inside a core (the host twin's check form
 * covers them), the split of tokens over cores, window creation, and the wrap of 64-bit epochs.
 *
 * Each W_... macro weakens one rule; tests/model.sh runs them all and expects each to break. */
#include "memory.pml"
#include "faults.pml"
#include "mask.pml"
#include "calls.pml"
#include "counts.pml"
#include "flags.pml"
#include "rows.pml"
#include "resume.pml"
#include "barriers.pml"

proctype core(byte me) {
    byte epoch;       /* the header's kEpoch and kExchange (modulo SLOTS) as of this kernel */
    byte exchange;
    byte todo;
    byte left;
    bool failed;
    bool fits;
    bool reuse;       /* this dispatch keeps the plan of the dispatch before */
#if defined(ASYNCHRONOUS)
    bool combining;
#endif
#if defined(W_LATE_EXPERTS)
    bool late;
#endif
#if defined(W_TWO_COMBINES)
    bool again;
#endif
#if defined(W_RETRY)
    bool placed;      /* Finish was reached: the header's epoch has advanced */
    bool retried;
#endif
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
            exchange = (exchange + 1) % SLOTS;
#if defined(RESUME)
            if :: epoch > newest -> newest = epoch :: else fi;
#endif
            agree_on_calls();
            select_routing();
#if defined(BAD_INPUT)
            if
            :: skip
            :: left = 3; goto lost                         /* Count refuses an expert id */
            fi;
#endif
            SAY("rank %d, core %d: epoch %d, its token goes to the ranks of the mask %d\n",
                RANK, BLOCK, epoch, going[me])
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
#if defined(LEAVE)
        if
        :: RANK == LEAVER && epoch == leave -> goto done
        :: else
        fi;
#endif
#if defined(W_LATE_EXPERTS)
        atomic {                                           /* the experts of the last dispatch, which had no combine */
            if
            :: late -> epoch--; run_experts(); epoch++; late = 0
            :: else
            fi
        }
#endif
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
            :: !failed && !fits -> goto over               /* Finish; the host raises the overflow and continues */
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
#if defined(W_RETRY)
            placed = 1;
#endif
            END_KERNEL
        }
experts:
        atomic {                                           /* the experts, a kernel of their own */
            if
#if defined(W_LATE_EXPERTS)
            :: BLOCK == 0 && calls[exchange] == DISPATCH_ONLY -> late = 1; goto over
#endif
            :: BLOCK == 0 && !(UNDEFINED_INPUT) -> run_experts()
            :: else
            fi;
            END_KERNEL;
            if
            :: calls[exchange] == DISPATCH_ONLY -> goto over
#if defined(W_REUSE_WITHOUT_COMBINE)
            :: calls[exchange] == COMBINE_AND_REUSE && !reuse -> reuse = 1; epoch = NEXT(epoch); goto place_rows
#endif
            :: else
            fi
        }
        atomic {                                           /* combine: Open */
#if defined(ASYNCHRONOUS)
            combining = 1;
#endif
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
#if defined(BAD_INPUT)
            if
            :: skip
            :: left = 0; goto lost                         /* Reduce refuses an expand_idx */
            fi;
#endif
            read_outputs();
            END_KERNEL;
            if
            :: calls[exchange] == COMBINE_AND_REUSE && !reuse -> reuse = 1; epoch = NEXT(epoch); goto place_rows
#if defined(W_TWO_COMBINES)
            :: !again -> again = 1; goto experts
#endif
            :: else
            fi;
            goto over
        }

lost:                                                      /* a wait that failed, or an input that is refused */
        give_up();
rejoin:                                                    /* no more work, but joins every barrier that is left */
        do
        :: atomic { left > 0 -> left--; JOIN_AFTER_FAILURE }
        :: atomic { left == 0 -> END_KERNEL; AFTER_FAILURE }
        od;

over:
        atomic {
#if defined(W_LATE_EXPERTS)
            if
            :: late -> going[me] = 0
            :: else -> forget()
            fi;
#else
            forget();
#endif
            reuse = 0;
            fits = 0;
#if defined(ASYNCHRONOUS)
            combining = 0;
#endif
#if defined(W_TWO_COMBINES)
            again = 0;
#endif
#if defined(W_RETRY)
            placed = 0;
#endif
            END_KERNEL_AND_LOOK;
            goto next_exchange
        }

dead:                                                      /* every operator returns the error at once */
#if defined(W_RETRY)
        atomic {                                           /* this rank alone clears its records and continues */
            if
            :: retried -> goto done
            :: else -> retried = 1
            fi;
            record[me] = 0;
            aborted[RANK] = 0;
            failed = 0;
            forget();
            if
            :: !placed -> epoch--; exchange = (exchange + SLOTS - 1) % SLOTS   /* Finish was not reached */
            :: else
            fi;
            goto over
        }
#elif defined(RESUME)
        atomic { waiting = waiting | (1 << RANK) };
end_waiting:
        atomic {
            HOSTS_MAY_RESUME -> resume();
            goto over
        }
#else
        goto done
#endif
    } unless { BIT(stopped, RANK) };
done:
    skip
}

init {
    atomic {
#if defined(LEAVE)
        if :: leave = 2 :: leave = 3 fi;
#endif
        i = 0;
        do :: i < R * C -> run core(i); i++ :: else -> break od;
        i = 0
    }
}
