/* Balanced prefill, for Spin: what op_impl/common/kernel/balance.h adds to the protocol of window.pml.
 *
 * In each epoch one rank has a surplus: another moves a row of it to a third, or to one of the two. Who, is free, and agreed
 * as it is by the counts. One core per rank; a store is seen by all before the next one of its rank, since window.pml has
 * shown what fences do. What is new and may go wrong: the entries, which stand for the rows of x too, are used again; rows
 * come from another rank than the one that owns them; nobody but the owner of a row and its destination meet in combine.
 *
 * Each W_... macro weakens one rule. */
#define R 3
#define HERE(from) (counts[(parity * R + me) * R + from] == e)

byte source[EPOCHS + 1];   /* of each epoch: the rank with a surplus, its helper, the destination */
byte helper[EPOCHS + 1];
byte target[EPOCHS + 1];
bool kept[EPOCHS + 1];     /* it keeps the plan of the one before: no exchange of counts */
bool combined[EPOCHS + 1];
byte agreed;               /* the epochs for which all this is chosen */

byte counts[2 * R * R];    /* at [(parity * R + rank) * R + from]: the epoch of what is there */
byte entries[R];
byte handed[R * R];
byte row[R];
byte arrived[R * R];
byte output[R];
byte ready[R * R];

inline choose(e) {
    if
    :: agreed >= e
    :: else ->
        agreed = e;
        if
#if defined(W_KEPT_UNCOMBINED)
        :: e > 1 -> kept[e] = true
#else
        :: e > 1 && combined[e - 1] -> kept[e] = true
#endif
        :: kept[e] = false
        fi;
        if
        :: kept[e] -> source[e] = source[e - 1]; helper[e] = helper[e - 1]; target[e] = target[e - 1]
        :: else ->
            if
            :: source[e] = 0  /* which rank is the first, does not matter */
            :: e > 1 -> source[e] = 1
            :: e > 1 -> source[e] = 2
            fi;
            if :: helper[e] = (source[e] + 1) % R :: helper[e] = (source[e] + 2) % R fi;
            if :: target[e] = 0 :: target[e] = 1 :: target[e] = 2 fi
        fi;
        if :: combined[e] = true :: combined[e] = false fi
    fi
}

inline hand_over(e) {
    if
    :: source[e] == me -> entries[me] = e
    :: else
    fi
}

proctype rank(byte me) {
    byte e = 0;
    byte to;
    bit parity;
    do
    :: e == EPOCHS -> break
    :: else ->
        atomic { e++; choose(e) }
#if defined(W_ENTRIES_BEFORE_COUNTS)
        hand_over(e);
#endif
        if
        :: kept[e]
        :: else ->
            atomic {  /* one store after the other is for window.pml */
                parity = 1 - parity;
                to = 0;
                do
                :: to == R -> break
                :: else -> counts[(parity * R + to) * R + me] = e; to++
                od;
                to = 0
            };
            HERE(0) && HERE(1) && HERE(2)
        fi;
#if !defined(W_ENTRIES_BEFORE_COUNTS)
        hand_over(e);
#endif
        if
        :: source[e] == me -> handed[helper[e] * R + me] = e
        :: else
        fi;
#if defined(W_ARRIVED_FROM_OWNER)
        if
        :: source[e] == me -> arrived[target[e] * R + helper[e]] = e
        :: else
        fi;
#endif
        if
        :: helper[e] == me ->
#if !defined(W_NO_HANDED)
            handed[me * R + source[e]] == e;
#endif
            if
            :: entries[source[e]] != e -> printf("BROKEN: a helper read entries of another epoch\n"); assert(false)
            :: else
            fi;
            row[target[e]] = e;
#if !defined(W_ARRIVED_FROM_OWNER)
            arrived[target[e] * R + me] = e
#endif
        :: else
        fi;
        if
        :: target[e] == me ->
            arrived[me * R + helper[e]] == e;
            if
            :: row[me] != e -> printf("BROKEN: an expert read a row of another epoch or source\n"); assert(false)
            :: else
            fi;
            output[me] = e
        :: else
        fi;
        if
        :: combined[e] && target[e] == me -> ready[source[e] * R + me] = e
        :: else
        fi;
        if
        :: combined[e] && source[e] == me ->
            ready[me * R + target[e]] == e;
            if
            :: output[target[e]] != e -> printf("BROKEN: combine read an output of another epoch or token\n"); assert(false)
            :: else
            fi
        :: else
        fi
    od
}

init { atomic { run rank(0); run rank(1); run rank(2) } }
