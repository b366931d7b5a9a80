/* The kernel carries a call out: as it came, or with the signals that may interrupt it. */
#include "perform.h"

#include "../../engine/engine.h"
#include "../../engine/slots.h"
#include "../../uufs/anchor.h"
#include "pending.h"

#include <signal.h>

HOT_FILE;

void
call_guard_signal_stack(const struct call *c)
{
    stack_t stack = {.ss_size = SLOT_SIGNAL_SIZE};

    if (c->slot < 0 || !c->signal_stack)
        return;
    stack.ss_sp = slot_signal_stack(c->slot);
    sys2(SYS_sigaltstack, &stack, NULL);
}

long
call_blocking(const struct call *c, long nr, unsigned long a0, unsigned long a1, unsigned long a2,
              unsigned long a3, unsigned long a4, unsigned long a5)
{
    uint64_t all = ~0UL;
    long r;

    if (engine.fs.anchored)
        anchors_drop(&engine.fs);
    call_guard_signal_stack(c);
    pending_leave(*c->mask, c->sp ? (unsigned long)c->sp : c->interrupted);
    sys4(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, c->mask, 0, 8);
    r = sys6(nr, a0, a1, a2, a3, a4, a5);
    sys4(SYS_rt_sigprocmask, 2, &all, 0, 8);
    return r;
}

long
call_raw(const struct call *c)
{
    return sys6(c->row->nr, c->a[0], c->a[1], c->a[2], c->a[3], c->a[4], c->a[5]);
}
