/* Balanced prefill, for Spin: what op_impl/kernel/balance.h adds to the protocol of window.pml.
 *
 * In each epoch one rank has a surplus, and another may move a row of it to a third, or to one of the two. Who, is free, and
 * agreed as it is by the counts. Each rank is in prefill or in decode as it likes; the others know it by its counts word
 * alone, and help is between two ranks in prefill. One core per rank; a store is seen by all before the next one of its
 * rank, since window.pml has shown what fences do. What is new and may go wrong: the entries, which stand for the rows of x
 * too, are used again; rows come from another rank than the one that owns them; nobody but the owner of a row and its
 * destination meet in combine; one rank keeps a plan where the others exchange, which ends the run for all.
 *
 * ALL_ALIKE: all ranks are in prefill, and keep a plan or none. Each W_... macro weakens one rule. */
#define R 3
#define ALL 7              /* of the ranks, as a mask */
#define BIT(mask, rank) ((mask >> (rank)) & 1)
#define KEEPS 128          /* in a counts word: there are no counts. Else it is 2 * epoch, and 1 more in prefill */
#define WORD(from) counts[(parity * R + me) * R + from]
#define KEPT_BY(from) (WORD(from) == KEEPS + 2 * e + 1)
#define HERE(from) (WORD(from) / 2 == e || KEPT_BY(from))
#define PREFILL(from) (WORD(from) % 2)
#define AWAIT(condition) if :: condition :: gave_up -> goto done fi

byte source[EPOCHS + 1];   /* of each epoch: the rank with a surplus, its helper, the destination */
byte helper[EPOCHS + 1];
byte target[EPOCHS + 1];
byte prefill[EPOCHS + 1];  /* mask: what each rank has chosen for itself */
byte keeps[EPOCHS + 1];    /* mask: who keeps the plan of the epoch before, without an exchange of counts */
bool combined[EPOCHS + 1];
byte agreed;               /* the epochs for which all this is chosen */

byte counts[2 * R * R];    /* at [(parity * R + rank) * R + from] */
byte entries[R];
byte handed[R * R];
byte row[R];
byte arrived[R * R];
byte output[R];
byte ready[R * R];
bool gave_up;              /* a rank has, and tells all */

inline choose(e) {
    if
    :: agreed >= e
    :: else ->
        agreed = e;
        if
#if defined(W_KEPT_UNCOMBINED)
        :: e > 1 && prefill[e - 1] == ALL -> keeps[e] = ALL
#else
        :: e > 1 && prefill[e - 1] == ALL && combined[e - 1] ->
            keeps[e] = ALL
#if !defined(ALL_ALIKE)
        :: e > 1 && prefill[e - 1] == ALL && combined[e - 1] ->
            if :: keeps[e] = 1 :: keeps[e] = 2 :: keeps[e] = 4 fi
#endif
#endif
        :: keeps[e] = 0
        fi;
        if
        :: keeps[e] == ALL ->
            source[e] = source[e - 1]; helper[e] = helper[e - 1]; target[e] = target[e - 1]; prefill[e] = ALL
        :: else ->
            if
            :: source[e] = 0  /* which rank is the first, does not matter */
            :: e > 1 -> source[e] = 1
            :: e > 1 -> source[e] = 2
            fi;
            if :: helper[e] = (source[e] + 1) % R :: helper[e] = (source[e] + 2) % R fi;
            if :: target[e] = 0 :: target[e] = 1 :: target[e] = 2 fi;
            prefill[e] = ALL;
            if
#if !defined(ALL_ALIKE)
            :: keeps[e] == 0 -> prefill[e] = 1  /* in prefill alone a rank has no help, whichever it is */
            :: keeps[e] == 0 -> prefill[e] = 3
            :: keeps[e] == 0 -> prefill[e] = 5
            :: keeps[e] == 0 -> prefill[e] = 6
#endif
            :: skip
            fi
        fi;
        if :: combined[e] = true :: combined[e] = false fi
    fi
}

inline store_words(at, word) {
    to = 0;
    do
    :: to == R -> break
    :: else -> counts[((at) * R + to) * R + me] = word; to++
    od;
    to = 0
}

proctype rank(byte me) {
    byte e = 0;
    byte to;
    byte from;             /* this epoch's source, who moves its row, and where to: what the counts say */
    byte mover;
    byte where;
    bool combines;
    bit parity;
    do
    :: e == EPOCHS -> break
    :: else ->
        atomic {
            e++;
            choose(e);
            from = source[e];
            where = target[e];
            combines = combined[e];
            if
            :: BIT(keeps[e], me) -> goto keep
            :: else
            fi
        }
#if defined(W_ENTRIES_BEFORE_COUNTS)
        if :: from == me -> entries[me] = e :: else fi;
#endif
        atomic {  /* one store after the other is for window.pml */
            parity = 1 - parity;
            store_words(parity, 2 * e + BIT(prefill[e], me))
        }
        atomic {
            AWAIT(HERE(0) && HERE(1) && HERE(2));
            if
            :: KEPT_BY(0) || KEPT_BY(1) || KEPT_BY(2) -> gave_up = true; goto done
            :: else -> goto derive
            fi
        }
keep:
#if !defined(W_SILENT_KEEPER)
        atomic { store_words(1 - parity, KEEPS + 2 * e + 1) }
#endif
derive:
        atomic {
            if
#if defined(W_PHASE_IGNORED)
            :: BIT(prefill[e], me) -> mover = helper[e]
#else
            :: PREFILL(from) && PREFILL(helper[e]) -> mover = helper[e]
#endif
            :: else -> mover = from
            fi
        }
        if
        :: from == me && mover != me ->
#if !defined(W_ENTRIES_BEFORE_COUNTS)
            entries[me] = e;
#endif
            handed[mover * R + me] = e
        :: else
        fi;
#if defined(W_ARRIVED_FROM_OWNER)
        if :: from == me -> arrived[where * R + mover] = e :: else fi;
#endif
        if
        :: mover == me && from != me ->
#if !defined(W_NO_HANDED)
            AWAIT(handed[me * R + from] == e);
#endif
            if
            :: entries[from] != e -> printf("BROKEN: a helper read entries of another epoch\n"); assert(false)
            :: else
            fi
        :: else
        fi;
        if
        :: mover == me ->
            row[where] = e;
#if !defined(W_ARRIVED_FROM_OWNER)
            arrived[where * R + me] = e
#endif
        :: else
        fi;
        if
        :: where == me ->
            AWAIT(arrived[me * R + mover] == e);
            if
            :: row[me] != e -> printf("BROKEN: an expert read a row of another epoch or source\n"); assert(false)
            :: else
            fi;
            output[me] = e
        :: else
        fi;
        if
        :: combines && where == me -> ready[from * R + me] = e
        :: else
        fi;
        if
        :: combines && from == me ->
            AWAIT(ready[me * R + where] == e);
            if
            :: output[where] != e -> printf("BROKEN: combine read an output of another epoch or token\n"); assert(false)
            :: else
            fi
        :: else
        fi
    od;
done:
    skip
}

init { atomic { run rank(0); run rank(1); run rank(2) } }
