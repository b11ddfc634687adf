/* The flags arrived and ready: flags.h. */
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
    SAY("rank %d, core %d: flag %d (0 is arrived, %d ready) of epoch %d to rank %d\n",
        RANK, BLOCK, flags, READY, epoch, peer)
#if defined(LATE_WORDS)
    if
    :: peer != RANK -> words[(1 + flags / (R * R)) * R + RANK] = 1; words_epoch[RANK] = epoch
    :: else -> flag[flags + peer * R + RANK] = epoch
    fi;
#else
    flag[flags + peer * R + RANK] = epoch;
#endif
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

/* Called after a wait for `set` that did not fail. */
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
