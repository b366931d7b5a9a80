/* Signal stacks that are too small for two frames. A handler that runs on one and makes a call that
 * traps needs room for SIGSYS's frame too, and the kernel ends the program where there is none. So
 * instead of a small stack the kernel is given a larger one of ours, and the program is told of its
 * own. What it can notice is where its handlers' variables lie. */
#include "../program/call.h"
#include "../program/usermem.h"

#include <signal.h>
#include <sys/mman.h>

#define SMALL      16384UL /* two frames of AVX-512 and as much again for the handler */
#define STACK_SIZE 65536UL
#define STACKS     256
#define FLAG_BITS  0x80000000u /* SS_AUTODISARM */

static struct substitute {
    char *base;               /* NULL: not mapped yet */
    int pid, tid;             /* whose it is; tid 0: free */
    struct signal_stack told; /* what the program believes to have installed */
} substitutes[STACKS];

static struct substitute *
substitute_of(const struct signal_stack *stack)
{
    if (!stack->sp)
        return NULL;
    for (size_t i = 0; i < STACKS && substitutes[i].base; i++)
        if (substitutes[i].base == stack->sp)
            return &substitutes[i];
    return NULL;
}

/* Free, or of a thread that has ended. One that a fork took over from another process stays: its
 * thread has another number here. */
static bool
take(struct substitute *s, int pid, int tid)
{
    int holder = __atomic_load_n(&s->tid, __ATOMIC_ACQUIRE);

    if (holder && (s->pid != pid || sys3(SYS_tgkill, pid, holder, 0) != -ESRCH))
        return false;
    return __atomic_compare_exchange_n(&s->tid, &holder, tid, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_RELAXED);
}

static bool
map(struct substitute *s)
{
    long r;

    if (s->base)
        return true;
    r = sys6(SYS_mmap, 0, STACK_SIZE, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!sys_failed(r))
        __atomic_store_n(&s->base, (char *)r, __ATOMIC_RELEASE);
    return !sys_failed(r);
}

/* A stack of ours for the calling thread, or NULL: there is none left, or no memory. */
static struct substitute *
new_substitute(void)
{
    int pid = (int)sys0(SYS_getpid), tid = (int)sys0(SYS_gettid);

    for (size_t i = 0; i < STACKS; i++) {
        struct substitute *s = &substitutes[i];

        if (!take(s, pid, tid))
            continue;
        s->pid = pid;
        if (map(s))
            return s;
        __atomic_store_n(&s->tid, 0, __ATOMIC_RELEASE);
        return NULL;
    }
    return NULL;
}

/* Is the interrupted code on the stack? One that disarms itself counts as left. */
static bool
is_on(const struct signal_stack *stack, unsigned long sp)
{
    return !((unsigned)stack->flags & FLAG_BITS) && sp > (unsigned long)stack->sp &&
           sp - (unsigned long)stack->sp <= stack->size;
}

static bool
is_disabled(const struct signal_stack *stack)
{
    return !stack->size || stack->flags & SS_DISABLE;
}

/* What sigaltstack tells of @now, the kernel's, for which @s may stand. */
static struct signal_stack
told(const struct signal_stack *now, const struct substitute *s, bool on)
{
    struct signal_stack old = {.flags = SS_DISABLE};

    if (is_disabled(now))
        return old;
    old = s ? s->told : *now;
    old.flags = (int)((unsigned)now->flags & FLAG_BITS) | (on ? SS_ONSTACK : 0);
    return old;
}

/* A stack that the program could not write to stays its own: it wants to see what happens. */
static bool
needs_more(const struct signal_stack *want)
{
    return want->size < SMALL && !(want->flags & SS_DISABLE) &&
           !user_writable(want->sp, want->size);
}

/* The kernel has found nothing wrong with @want. What becomes live is what the frame says. */
static void
install(struct signal_stack *live, struct substitute *s, const struct signal_stack *want)
{
    struct substitute *fresh = s;

    if (needs_more(want)) {
        if (!fresh)
            fresh = new_substitute();
        if (fresh) {
            fresh->pid = (int)sys0(SYS_getpid);
            __atomic_store_n(&fresh->tid, (int)sys0(SYS_gettid), __ATOMIC_RELEASE);
            fresh->told = *want;
            *live = (struct signal_stack){fresh->base, want->flags, STACK_SIZE};
            return;
        }
    }
    *live = *want;
    if (s)
        __atomic_store_n(&s->tid, 0, __ATOMIC_RELEASE);
}

long
call_sigaltstack(struct call *c)
{
    struct signal_stack want, old;
    struct substitute *s;
    bool on;
    long r;

    if (!c->stack)
        return -ENOSYS;
    s = substitute_of(c->stack);
    on = !is_disabled(c->stack) && is_on(c->stack, c->interrupted);
    old = told(c->stack, s, on);
    if (c->a[0]) {
        r = user_copy(&want, c->a[0], sizeof(want));
        if (!r && on)
            r = -EPERM;
        if (!r)
            r = sys2(SYS_sigaltstack, &want, NULL);
        if (r)
            return r;
        install(c->stack, s, &want);
    }
    return c->a[1] ? user_put(c->a[1], &old, sizeof(old)) : 0;
}
