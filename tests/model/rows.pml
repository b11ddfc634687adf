/* The readers of rows and outputs: the expert matmul, and Reduce of combine. */
#if defined(W_TWO_COMBINES)
#define OUTPUT_OF(epoch, core) (ROW_OF(epoch, core) + 128 * again)   /* other outputs for the second combine */
#else
#define OUTPUT_OF(epoch, core) ROW_OF(epoch, core)
#endif
/* Reads every row that was placed here, in the order of the addresses, and makes an output of each. Other ranks run
   between the dispatch and this step, so it stands for a read at any moment up to the kernel's end. */
inline run_experts() {
    SAY("rank %d: reads its rows of epoch %d\n", RANK, epoch)
    i = 0; at = 0;
    do
    :: i < R * C ->
        if
        :: BIT(seen[RANK * R + i / C], (i % C) * R + RANK) ->
            MUST(rows[RANK * CAP + at] == ROW_OF(epoch, i),
                 "BROKEN: an expert read a row of another epoch or source\n");
#if !defined(W_TWO_COMBINES)
            rows[RANK * CAP + at] = 0;
#endif
            if
            :: calls[exchange] != DISPATCH_ONLY -> new_outputs[RANK * CAP + at] = OUTPUT_OF(epoch, i)
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

inline read_outputs() {
    SAY("rank %d, core %d: reads the outputs of epoch %d\n", RANK, BLOCK, epoch)
    i = 0;
    do
    :: i < R ->
        if
        :: BIT(going[me], i) ->
            at = i * CAP + place[me * R + i];
            MUST(outputs[at] == OUTPUT_OF(epoch, me), "BROKEN: combine read an output of another epoch or token\n");
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
