/* PTRACE_TRACEME of a vfork child, as debuggers and Go make it. From that call on a trap stops the
 * child for its tracer; but the tracer is the parent, and waits for the child to execute. So the
 * call is made at the moment of the execve, when no more traps come. Elsewhere it is the kernel's
 * at once: a forked child may stop itself before it executes. */
#include "ptrace.h"

#include "../../engine/engine.h"
#include "../program/perform.h"
#include "../program/vfork.h"

#include <sys/ptrace.h>

HOT static int pending[8]; /* vfork children that will be traced */
HOT static int tracee;     /* the process that asked for it; its forks inherit the number alone */

long
call_ptrace(struct call *c)
{
    int tid = (int)sys0(SYS_gettid);
    long r;

    if (vfork_shares_memory() != 1) {
        r = call_raw(c);
        if (!r)
            ptrace_mark_traced();
        return r;
    }
    for (size_t i = 0; i < ARRAY_LEN(pending); i++) {
        int none = 0;

        if (__atomic_compare_exchange_n(&pending[i], &none, tid, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_RELAXED))
            return 0;
    }
    return call_raw(c);
}

HOT_TEXT void
ptrace_before_exec(void)
{
    int tid = -1;

    for (size_t i = 0; i < ARRAY_LEN(pending); i++) {
        if (!__atomic_load_n(&pending[i], __ATOMIC_RELAXED))
            continue;
        if (tid < 0)
            tid = (int)sys0(SYS_gettid);
        if (__atomic_load_n(&pending[i], __ATOMIC_RELAXED) != tid)
            continue;
        __atomic_store_n(&pending[i], 0, __ATOMIC_RELEASE);
        sys4(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0);
    }
}

void
ptrace_mark_traced(void)
{
    tracee = (int)sys0(SYS_getpid);
}

HOT_TEXT bool
ptrace_is_wanted(void)
{
    int tid = 0;

    for (size_t i = 0; i < ARRAY_LEN(pending); i++) {
        int who = __atomic_load_n(&pending[i], __ATOMIC_RELAXED);

        if (who && !tid)
            tid = (int)sys0(SYS_gettid);
        if (who && who == tid)
            return true;
    }
    return tracee && tracee == (int)sys0(SYS_getpid);
}
