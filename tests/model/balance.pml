/* Balanced prefill, for Spin: what op_impl/kernel/balance.h adds to the protocol of window.pml.
 *
 * In each epoch one rank has a surplus, and another rank may move one of its rows, to a third rank or to one of the
 * two. Any choice of these ranks is tried; all ranks know it, as they do from the counts. Each rank chooses prefill or
 * decode; the others learn the phase only from its counts word, and only ranks in prefill help each other. There is one
 * core per rank. All ranks see a store before its rank's next store, since window.pml has shown what fences do. New,
 * and possibly wrong: entries (which also stand for the rows of x) are used again; a row does not come from the rank
 * that owns it; in combine only a row's owner and its destination meet; one rank keeps a plan while the others
 * exchange, which ends the run for all.
 *
 * ALL_ALIKE: all ranks are in prefill, and all keep a plan or none does. Each W_... macro weakens one rule. */
#define R 3
#define ALL 7              /* the mask of all ranks */
#define BIT(mask, rank) ((mask >> (rank)) & 1)
#define KEEPS 128          /* a counts word without counts. Other counts words are 2 * epoch, plus 1 in prefill */
#define WORD(from) counts[(parity * R + me) * R + from]
#define KEPT_BY(from) (WORD(from) == KEEPS + 2 * e + 1)
#define HERE(from) (WORD(from) / 2 == e || KEPT_BY(from))
#define PREFILL(from) (WORD(from) % 2)
#define AWAIT(condition) if :: condition :: gave_up -> goto done fi

byte source[EPOCHS + 1];   /* of each epoch: the rank with a surplus, its helper, the destination */
byte helper[EPOCHS + 1];
byte target[EPOCHS + 1];
byte prefill[EPOCHS + 1];  /* mask: what each rank has chosen for itself */
byte keeps[EPOCHS + 1];    /* mask: ranks that keep the plan of the epoch before, without an exchange of counts */
bool combined[EPOCHS + 1];
byte agreed;               /* the number of epochs for which this is chosen */

byte counts[2 * R * R];    /* at [(parity * R + rank) * R + from] */
byte entries[R];
byte handed[R * R];
byte row[R];
byte arrived[R * R];
byte output[R];
byte ready[R * R];
bool gave_up;              /* a rank has given up, and all are told */

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
            :: source[e] = 0  /* by symmetry the first source is rank 0 */
            :: e > 1 -> source[e] = 1
            :: e > 1 -> source[e] = 2
            fi;
            if :: helper[e] = (source[e] + 1) % R :: helper[e] = (source[e] + 2) % R fi;
            if :: target[e] = 0 :: target[e] = 1 :: target[e] = 2 fi;
            prefill[e] = ALL;
            if
#if !defined(ALL_ALIKE)
            :: keeps[e] == 0 -> prefill[e] = 1  /* a rank that is alone in prefill gets no help, so any rank will do */
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
    byte from;             /* from the counts: this epoch's source, the rank that moves its row, and the destination */
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
        atomic {  /* window.pml interleaves single stores */
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
