/* Signal masks and actions. A thread that blocks SIGSYS would be killed at its next trapped call,
 * so SIGSYS is taken out of every mask; its action is answered from a shadow copy, so that no
 * program sees ours. */
#include "../../engine/engine.h"
#include "../program/perform.h"
#include "../program/usermem.h"

HOT_FILE;

#define SIGSYS_NR       31
#define SIGCANCEL_NR    32 /* of glibc: pthread_cancel */
#define SA_RESTART_FLAG 0x10000000
#define SIGSYS_BIT      (1UL << (SIGSYS_NR - 1))
#define KEEP_BITS       (1UL << 8 | 1UL << 18) /* SIGKILL and SIGSTOP cannot be blocked */

/* The mask becomes live when the handler returns: it is the saved mask of the interrupted thread.
 */
long
call_rt_sigprocmask(struct call *c)
{
    uint64_t old = *c->mask, set;
    int err;

    if (c->a[3] != 8)
        return -EINVAL;
    err = user_copy(&set, c->a[1], sizeof(set));
    if (err)
        return err;
    switch ((int)c->a[0]) {
    case 0: /* SIG_BLOCK */
        set |= old;
        break;
    case 1: /* SIG_UNBLOCK */
        set = old & ~set;
        break;
    case 2: /* SIG_SETMASK */
        break;
    default:
        return -EINVAL;
    }
    if (c->a[2]) {
        err = user_put(c->a[2], &old, sizeof(old));
        if (err)
            return err;
    }
    *c->mask = set & ~(SIGSYS_BIT | KEEP_BITS);
    return 0;
}

static long
shadow_action(struct call *c)
{
    struct kernel_sigaction old = engine.sigsys, act;
    int err;

    if (c->a[1]) {
        err = user_copy(&act, c->a[1], sizeof(act));
        if (err)
            return err;
    }
    if (c->a[2]) {
        err = user_put(c->a[2], &old, sizeof(old));
        if (err)
            return err;
    }
    if (c->a[1])
        engine.sigsys = act;
    return 0;
}

long
call_rt_sigaction(struct call *c)
{
    struct kernel_sigaction act;
    int err;

    if (c->a[3] != 8)
        return -EINVAL;
    if (c->a[0] == SIGSYS_NR)
        return shadow_action(c);
    err = user_copy_near(c->sp, &act, c->a[1], sizeof(act));
    if (err)
        return err;
    act.mask &= ~SIGSYS_BIT;
    if (c->a[0] == SIGCANCEL_NR) {
        engine.expect_cancellation();
        /* From 2.41 on glibc's handler does nothing unless it interrupted glibc's own instruction,
         * and lets an open that waits in here start anew. It takes EINTR for a cancellation. */
        act.flags &= ~(unsigned long)SA_RESTART_FLAG;
    }
    return sys4(SYS_rt_sigaction, c->a[0], &act, c->a[2], 8);
}

/* Calls that wait with a mask of their own: the same call with SIGSYS taken out of it. */
static long
wait_with_mask(struct call *c, unsigned mask_arg)
{
    uint64_t mask;
    int err = user_copy(&mask, c->a[mask_arg], sizeof(mask));

    if (err)
        return err;
    mask &= ~SIGSYS_BIT;
    c->a[mask_arg] = (unsigned long)&mask;
    call_guard_signal_stack(c);
    return call_raw(c);
}

COLD long
call_rt_sigsuspend(struct call *c)
{
    return wait_with_mask(c, 0);
}

COLD long
call_ppoll(struct call *c)
{
    return wait_with_mask(c, 3);
}

COLD long
call_epoll_pwait(struct call *c)
{
    return wait_with_mask(c, 4);
}

COLD long
call_pselect6(struct call *c)
{
    struct {
        unsigned long mask;
        size_t size;
    } arg;
    uint64_t mask;
    int err = user_copy(&arg, c->a[5], sizeof(arg));

    if (!err && arg.mask) {
        err = user_copy(&mask, arg.mask, sizeof(mask));
        mask &= ~SIGSYS_BIT;
        arg.mask = (unsigned long)&mask;
    } else if (!err) {
        /* no mask: the thread's own must be live while it waits */
        return call_blocking(c, c->row->nr, c->a[0], c->a[1], c->a[2], c->a[3], c->a[4], 0);
    }
    if (err)
        return err;
    c->a[5] = (unsigned long)&arg;
    call_guard_signal_stack(c);
    return call_raw(c);
}
