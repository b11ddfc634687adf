/* What the program around the kernels chooses: calls and routing. */
/* What all ranks call next, since they run the same program. The first rank to get there chooses. */
#define UNKNOWN 0
#define DISPATCH_ONLY 1
#define COMBINE 2
#define COMBINE_AND_REUSE 3   /* a second dispatch with the kept plan, then its combine */
#if defined(LEAVE)
#define SLOTS 8               /* a rank that is no longer awaited may fall behind */
#else
#define SLOTS 4
#endif
byte calls[SLOTS];
byte verdict[SLOTS];              /* 1: fits; 2 + rank: its window is too small */

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
        calls[(exchange + SLOTS / 2) % SLOTS] = UNKNOWN;
        verdict[(exchange + SLOTS / 2) % SLOTS] = 0
    :: else
    fi
}

/* Where this core's token goes: to any set of the ranks, to at most one of them, or at most to the next rank. */
inline select_routing() {
#if defined(NEXT_ONLY)
    if
    :: going[me] = 0
    :: going[me] = 1 << ((RANK + 1) % R)
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
    ; going[me] = going[me] & ~NO_ROWS_TO
#if defined(LEAVE)
    ; if :: RANK == LEAVER && epoch >= leave -> going[me] = 0 :: else fi
#endif
}
