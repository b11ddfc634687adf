/* The counts exchange: exchange.h. */
#if defined(W_COUNTS_TO_DESTINATIONS)
#define FIRST_STORES (SHARE & (TARGETS(COUNTS_ROW(RANK)) | 1 << RANK))
#else
#define FIRST_STORES (SHARE & ~GONE)
#endif
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
#define AWAITED (fits -> ALL : (2 << RANK) - 1)   /* first those that its own row addresses need, all after its rows */
#else
#define AWAITED (ALL & ~GONE)
#endif

inline store_counts(peer) {
    SAY("rank %d: counts of epoch %d to rank %d\n", RANK, epoch, peer)
#if defined(LATE_WORDS)
    if
    :: peer != RANK -> words[RANK] = 1; words_epoch[RANK] = epoch; words_parity[RANK] = PARITY
    :: else -> counts[PARITY_WORD(peer, RANK)] = going[me]; counts_epoch[PARITY_WORD(peer, RANK)] = epoch
    fi;
#else
    counts[PARITY_WORD(peer, RANK)] = COUNTS_ROW(RANK);
    counts_epoch[PARITY_WORD(peer, RANK)] = epoch;
#endif
    todo = todo & ~(1 << peer)
}

/* The stores to the peers. The store to the own window comes before, which no other rank can notice. */
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

/* Takes the columns of this core's share of the destinations from the words that have come. */
inline take_counts() {
    SAY("rank %d, core %d: has the counts of epoch %d\n", RANK, BLOCK, epoch)
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
