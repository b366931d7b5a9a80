/* The fast path: a system call of the C library enters the engine by a jump instead of a signal.
 *
 * Only an accelerator. A call site is rewritten where the program traps often; a site that cannot
 * be rewritten goes on trapping, and what a call means is decided by the same handlers either way.
 */
#ifndef LPMX_FAST_H
#define LPMX_FAST_H

#include "../engine.h"

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

/* ---- entry.c ---- */
void fast_entry(void);              /* where stubs jump to; not a C function */
extern int fast_cancellable_inside; /* calls of cancellable sites that are being carried out */
/* Can calls of this number be carried out without a signal frame? */
bool fast_may_carry(long nr);

#define FAST_SLOTS 7              /* less than a huge page in all */
extern int fast_busy[FAST_SLOTS]; /* stacks in use */

/* ---- note.c ---- */
/* System call @nr trapped, and goes on at @back: rewrite its site if it is worth it. */
void fast_note(uint64_t back, long nr);
/* A handler for the C library's cancellation signal is about to be installed. */
void fast_expect_cancellation(void);

/* ---- text.c ---- */
/* Is the site a private mapping of the C library's (or its loader's) file? */
bool text_is_libc(uint64_t site);
/* Does @site hold "mov $nr, %eax; syscall"? */
bool text_is_call(uint64_t site, uint32_t nr);
/* The N of a @site that holds "mov N(%rsp), %rax; syscall", or 0. So are, from glibc 2.41 on, all
 * cancellable calls of a program without threads made, from one place. */
uint8_t text_shared_call(uint64_t site);
/* Replace the five bytes at @site, which are one instruction before and after. Other threads may
 * run them meanwhile. */
int text_replace(uint64_t site, uint8_t opcode, uint32_t operand);

/* ---- stubs.c ---- */
/* A stub within reach of a jump at @site; NULL when none can be had. Its address to *stub. */
struct fast_site *stub_new(uint64_t site, uint64_t *stub);
/* The @i-th site that has a stub, or NULL. */
struct fast_site *stub_site(unsigned i);

#endif
