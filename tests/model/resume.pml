/* After one rank has stopped: RESUME of mask.pml. One step here is the two meetings of the hosts in
   op_impl/host/resume_protocol.h: at the first they agree on an epoch, between them each clears its own records, and
   nobody begins before all have come to the second. */
#if defined(RESUME)
/* The hosts of all ranks that have not stopped agree to continue without the one that has. */
#if defined(W_NOT_DRAINED)
#define DRAINED true
#elif R > 2
#define DRAINED (moving[0] == 0 && moving[1] == 0 && moving[2] == 0)
#else
#define DRAINED (moving[0] == 0 && moving[1] == 0)
#endif
#if defined(W_EPOCH_AGAIN)
#define RESUME_AT (newest - 1)
#else
#define RESUME_AT newest
#endif
#define HOSTS_MAY_RESUME (stopped != 0 && (resumed || ((waiting | stopped) == ALL && DRAINED)))

inline resume() {
    if
    :: !resumed ->
        resumed = 1;
        resume_at = RESUME_AT;
        gone = stopped;
        i = 0;
        do
        :: i < R -> record[i] = 0; aborted[i] = 0; i++
        :: else -> break
        od;
        i = 0;
        do
        :: i < SLOTS -> calls[i] = UNKNOWN; verdict[i] = 0; i++
        :: else -> break
        od;
        i = 0
    :: else
    fi;
    forget();
    failed = 0;
    exchange = 0;
    epoch = resume_at
}
#endif
