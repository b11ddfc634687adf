/* Where the barriers are, and what they wait for. */
#if defined(W_NO_FENCE_BEFORE_ARRIVED)
#define ROWS_FENCED true
#else
#define ROWS_FENCED (moving[me] == 0)
#endif
#if defined(W_NO_FENCE_BEFORE_READY)
#define OUTPUTS_FENCED true
#else
#define OUTPUTS_FENCED OUTPUTS_OF(RANK, BLOCK)
#endif

#if defined(W_NO_BARRIER_BEFORE_ARRIVED)
#define BARRIER_BEFORE_ARRIVED (ROWS_FENCED)
#else
#define BARRIER_BEFORE_ARRIVED BARRIER(ROWS_FENCED)
#endif
#if defined(W_NO_BARRIER_BEFORE_READY)
#define BARRIER_BEFORE_READY (OUTPUTS_FENCED)
#else
#define BARRIER_BEFORE_READY BARRIER(OUTPUTS_FENCED)
#endif
#if defined(W_NO_BARRIER_BEFORE_COUNTS)
#define BARRIER_BEFORE_COUNTS (FENCED)
#else
#define BARRIER_BEFORE_COUNTS BARRIER(FENCED)
#endif
#if defined(W_FAILED_CORE_LEAVES)
#define JOIN_AFTER_FAILURE goto dead
#else
#define JOIN_AFTER_FAILURE BARRIER(FENCED)
#endif
/* The next kernel of this rank starts when all cores and their moves have ended in this one. The host looks at the
   records in between (CPU), or only at the end (ASYNCHRONOUS: the NPU, and captured graphs). */
#define END_KERNEL_AND_LOOK (FENCED); ARRIVE; RELEASED; if :: DEAD -> goto dead :: else fi
#if defined(ASYNCHRONOUS)
#define END_KERNEL (FENCED); ARRIVE; RELEASED
#define AFTER_FAILURE if :: combining -> goto over :: else -> goto experts fi
#define UNDEFINED_INPUT RECORDS(RANK)
#else
#define END_KERNEL END_KERNEL_AND_LOOK
#define AFTER_FAILURE goto dead
#define UNDEFINED_INPUT false
#endif
