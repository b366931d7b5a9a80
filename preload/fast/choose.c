/* Which sites are rewritten, and when.
 *
 * Most programs are short. The first site costs as much as a dozen traps (the C library has to be
 * found, stubs to be mapped), another one as two; so a program must have trapped often, and then
 * the site a few times. A vfork child rewrites nothing, since it runs on its parent's memory and
 * may be killed halfway. */
#include "choose.h"

#include "../base/libc.h"
#include "../calls/program/vfork.h"
#include "../engine/plan.h"
#include "entry.h"
#include "patch.h"
#include "stubs.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

HOT_FILE;

#define BUSY         32 /* traps of a program that will make many more */
#define WORTH_IT     4  /* of these from one site */
#define HOPELESS     0xffffffffu
#define JMP          0xe9
#define MOV_EAX      0xb8
#define LINKS_OF_ONE 3 /* of /proc/self/task with one thread in it */

struct counter {
    uint64_t back;
    uint32_t nr, n;
};

/* Direct-mapped; threads may lose counts of each other, which only delays. */
HOT static struct counter counters[64];
HOT static uint32_t traps;
static int rewriting; /* one thread at a time; the others do without */
static bool cancellation;
static int owner; /* the process whose memory this is */

static bool
has_threads(void)
{
    struct stat st;

    return sys4(SYS_newfstatat, AT_FDCWD, "/proc/self/task", &st, 0) || st.st_nlink != LINKS_OF_ONE;
}

/* Is this memory this process's, and not that of a vfork child's parent? In a new fork's child
 * stacks that other threads held are nobody's, once it has no threads of its own. */
static bool
is_owner(void)
{
    int pid = (int)sys0(SYS_getpid);

    if (owner == pid)
        return true;
    if (vfork_shares_memory() || (owner && has_threads()))
        return false;
    memset(fast_busy, 0, sizeof(fast_busy));
    owner = pid;
    return true;
}

/* In a program with threads the C library makes these calls where a cancellation may unwind the
 * stack from the very instruction; our code has no unwind tables. */
static bool
is_cancellation_point(long nr)
{
    return (nr == SYS_open || nr == SYS_openat || nr == SYS_creat) && has_threads();
}

static bool
rewrite(uint64_t back, long nr)
{
    uint64_t site = back - SITE_SIZE, stub;
    struct fast_site *s, made = {.nr = (uint16_t)nr, .back = back};

    /* Of the calls that share a site, opening is the one that both traps and is carried. The site
     * is for those that cannot be cancelled. */
    if (nr == SYS_openat)
        made.from_stack = patch_shared_call(site);
    if ((!made.from_stack && !patch_is_call(site, (uint32_t)nr)) || !patch_is_libc(site))
        return false;
    made.cancellable = !made.from_stack && is_cancellation_point(nr);
    if (made.cancellable && cancellation)
        return false;
    s = stub_new(site, &stub);
    if (!s)
        return false;
    *s = made;
    return !patch_replace(site, JMP, (uint32_t)(stub - (site + 5)));
}

void
choose_note(uint64_t back, long nr)
{
    struct counter *c = &counters[(back ^ back >> 6 ^ back >> 12) % ARRAY_LEN(counters)];
    bool eager = engine.plan->flags & PLAN_EAGER;

    if ((engine.plan->flags & PLAN_TRAP) || !fast_may_carry(nr))
        return;
    if (c->back != back || c->nr != (uint32_t)nr)
        *c = (struct counter){back, (uint32_t)nr, 0};
    if (traps < BUSY)
        traps++;
    if (c->n == HOPELESS || (++c->n < WORTH_IT && !eager) || (traps < BUSY && !eager) ||
        __atomic_exchange_n(&rewriting, 1, __ATOMIC_ACQUIRE))
        return;
    if (!is_owner())
        c->n = 0; /* asked again later */
    else if (!rewrite(back, nr))
        c->n = HOPELESS;
    __atomic_store_n(&rewriting, 0, __ATOMIC_RELEASE);
}

/* Threads that came by a jump are in our code for a few microseconds more. One that was left by a
 * longjmp meanwhile counts for ever, so there is an end to the patience. */
static void
wait_until_left(void)
{
    struct timespec pause = {.tv_nsec = 50000};

    for (int i = 0; i < 200; i++) {
        sys2(SYS_nanosleep, &pause, NULL);
        if (!__atomic_load_n(&fast_cancellable_inside, __ATOMIC_ACQUIRE))
            return;
    }
}

void
choose_expect_cancellation(void)
{
    const struct fast_site *s;
    bool any = false;

    while (__atomic_exchange_n(&rewriting, 1, __ATOMIC_ACQUIRE))
        sys0(SYS_sched_yield);
    cancellation = true;
    for (unsigned i = 0; (s = stub_site(i)); i++)
        if (s->cancellable && *(const uint8_t *)(s->back - SITE_SIZE) == JMP)
            any = !patch_replace(s->back - SITE_SIZE, MOV_EAX, s->nr) || any;
    __atomic_store_n(&rewriting, 0, __ATOMIC_RELEASE);
    if (any)
        wait_until_left();
}
