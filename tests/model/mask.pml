/* Ranks that take no part: the kernels' rank_mask (op_impl/kernel/live_ranks.h), and the host's resume after a
   failure (op_impl/host/resume_protocol.h).
   LEAVE    the last rank gets no rows from epoch `leave` on, publishes zero counts for it, and is not awaited after it.
            It stops once these are out; the kernel's also waits for the counts of the others
   RESUME   after one rank has stopped, the others agree to leave it out and continue with the same window */
#define LEAVER (R - 1)
#if defined(LEAVE)
byte leave;
#if defined(W_MASK_EARLY)
#define LEAVE_AT (leave - (RANK == 0))
#elif defined(W_MASK_LATE)
#define LEAVE_AT (leave + (RANK == 0))
#else
#define LEAVE_AT leave
#endif
#define NO_ROWS_TO (epoch >= LEAVE_AT -> 1 << LEAVER : 0)
#define GONE (epoch > LEAVE_AT -> 1 << LEAVER : 0)
#elif defined(RESUME)
byte waiting;                 /* set of ranks whose window is dead and whose host waits for the others to resume */
byte gone;
byte newest;                  /* the highest epoch that any rank has used */
byte resume_at;
bool resumed;
#define NO_ROWS_TO gone
#define GONE gone
#else
#define NO_ROWS_TO 0
#define GONE 0
#endif
