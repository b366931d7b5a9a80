/* The fast path: a system call of the C library enters the engine by a jump instead of a signal.
 *
 * Only an accelerator. A call site is rewritten where the program traps often; a site that cannot
 * be rewritten goes on trapping, and what a call means is decided by the same handlers either way.
 */
#ifndef LPMX_FAST_H
#define LPMX_FAST_H

#include "../base/sys.h"

#define SITE_SIZE 7UL /* mov $nr, %eax or mov N(%rsp), %rax (5 bytes); syscall (2 bytes) */

/* One rewritten call site, as its stub finds it. */
struct fast_site {
    uint16_t nr;         /* the call that is taken here */
    uint8_t cancellable; /* a cancellation point of a program with threads */
    uint8_t from_stack;  /* not 0: a site of several calls, whose number lies so far from rsp */
    uint32_t unused;
    uint64_t back; /* the instruction after its syscall */
};

/* What entry.c's assembly keeps of the caller, on the caller's own stack. */
struct fast_frame {
    unsigned long a[6];
    const struct fast_site *site;
};

#endif
