/* A rewritten call site arrives here by its stub, as an ordinary piece of its function: the
 * caller's registers, stack and signal mask are live.
 *
 * All signals are blocked while the handler runs on a stack of ours, as in the trap, so no handler
 * of the program ever runs on that stack or leaves it by longjmp; they arrive when everything of
 * ours is given back. A call that may wait is declined before it does anything: the site's own
 * `syscall` then traps. */
#include "entry.h"

#include "../calls/files/inode.h"
#include "../calls/files/lower.h"
#include "../calls/paths/dircache.h"
#include "../calls/proc/files.h"
#include "../calls/program/pending.h"
#include "../calls/program/usermem.h"
#include "../calls/run.h"
#include "../calls/table.h"
#include "../engine/plan.h"
#include "../engine/slots.h"
#include "fast.h"
#include "lookup.h"

#include <sys/stat.h>

HOT_FILE;

#define STACK_SIZE   (256UL * 1024)
#define SIGSYS_NR    31
#define SIGSYS_BIT   (1UL << (SIGSYS_NR - 1))
#define SIGCANCEL_NR 32 /* of glibc: sites change with its action, see choose.c */
#define SET_MASK     2  /* SIG_SETMASK */
#define BLOCK        0  /* SIG_BLOCK */

static char *stacks; /* FAST_SLOTS of STACK_SIZE, mapped for the first call that needs one */
int fast_cancellable_inside;
int fast_busy[FAST_SLOTS];

long fast_on_stack(struct call *c, void *stack);

/* Below the red zone: the six arguments, the site, then nothing of the caller's is touched but rax,
 * rcx and r11, as by the syscall instruction itself. */
__asm__(".text\n"
        ".globl fast_entry\n"
        ".hidden fast_entry\n"
        "fast_entry:\n"
        "    cmpb $0, 3(%rcx)\n" /* site->from_stack */
        "    jne 2f\n"
        "0:  lea -128(%rsp), %rsp\n"
        "    push %rcx\n"
        "    push %r9\n"
        "    push %r8\n"
        "    push %r10\n"
        "    push %rdx\n"
        "    push %rsi\n"
        "    push %rdi\n"
        "    mov %rsp, %rdi\n"
        "    push %rbp\n"
        "    mov %rsp, %rbp\n"
        "    and $-16, %rsp\n"
        "    call fast_call\n"
        "    mov %rbp, %rsp\n"
        "    pop %rbp\n"
        "    pop %rdi\n"
        "    pop %rsi\n"
        "    pop %rdx\n"
        "    pop %r10\n"
        "    pop %r8\n"
        "    pop %r9\n"
        "    pop %rcx\n"
        "    lea 128(%rsp), %rsp\n"
        "    mov %rax, %r11\n"
        "    neg %r11\n"
        "    jo 1f\n"               /* CALL_DECLINE is the one value that has no negative */
        "    jmp *8(%rcx)\n"        /* site->back */
        "1:  movzwl (%rcx), %eax\n" /* site->nr */
        "9:  mov 8(%rcx), %rcx\n"
        "    sub $2, %rcx\n" /* the syscall instruction */
        "    jmp *%rcx\n"
        /* A site of several calls: all but one go straight to its syscall. */
        "2:  movzbl 3(%rcx), %eax\n"
        "    mov (%rsp, %rax), %rax\n"
        "    movzwl (%rcx), %r11d\n"
        "    cmp %r11, %rax\n"
        "    jne 9b\n"
        "    jmp 0b\n"
        ".globl fast_on_stack\n"
        ".hidden fast_on_stack\n"
        "fast_on_stack:\n"
        "    push %rbp\n"
        "    mov %rsp, %rbp\n"
        "    mov %rsi, %rsp\n"
        "    call fast_run\n"
        "    mov %rbp, %rsp\n"
        "    pop %rbp\n"
        "    ret\n");

__attribute__((used)) static long
fast_run(struct call *c)
{
    long result = call_run(c);

    pending_leave(*c->mask, (unsigned long)c->sp);
    return result;
}

bool
fast_may_carry(long nr)
{
    switch (nr) {
    case SYS_execve: /* leave this memory, or wait with the program's own mask */
    case SYS_execveat:
    case SYS_sigaltstack: /* what is live when the frame is gone */
    case SYS_connect:
    case SYS_bind:
    case SYS_sendto:
    case SYS_sendmsg:
    case SYS_sendmmsg:
    case SYS_accept:
    case SYS_accept4:
    case SYS_recvfrom:
    case SYS_recvmsg:
    case SYS_recvmmsg:
    case SYS_rt_sigsuspend:
    case SYS_ppoll:
    case SYS_pselect6:
    case SYS_io_pgetevents:
    case SYS_epoll_pwait:
    case SYS_epoll_pwait2:
    case SYS_ioctl:
        return false;
    }
    return true;
}

/* The top of a stack, or NULL. Part of the loader's zeros they would make those as large as a huge
 * page, which some systems give to whoever touches a part of one. */
static void *
stack_top(int slot)
{
    char *at = stacks_map(&stacks, FAST_SLOTS * STACK_SIZE);

    return at ? at + ((unsigned long)slot + 1) * STACK_SIZE - 64 : NULL;
}

/* A free stack, by preference one that this thread used before; -1: none. */
static int
take_slot(const void *sp)
{
    unsigned first = (unsigned)(((uintptr_t)sp >> 16) * 0x9e3779b1u >> 16);

    for (unsigned i = 0; i < FAST_SLOTS; i++) {
        unsigned slot = (first + i) % FAST_SLOTS;

        if (!__atomic_exchange_n(&fast_busy[slot], 1, __ATOMIC_ACQUIRE))
            return (int)slot;
    }
    return -1;
}

/* ---- calls that need no stack of ours, nor blocked signals ---- */

/* A change of the mask is the kernel's own call, with SIGSYS taken out of the set. Where it would
 * let a waiting signal through it must be the program's code that this one interrupts: abort and
 * raise end in such a call, and whoever prints a backtrace then cannot unwind ours. */
static long
change_mask(const unsigned long *a, const void *sp)
{
    uint64_t set, waiting = 0;

    if (!a[1] || a[3] != sizeof(set) || ((int)a[0] != BLOCK && (int)a[0] != SET_MASK))
        return CALL_DECLINE;
    if (user_copy_near(sp, &set, a[1], sizeof(set)))
        return -EFAULT;
    set &= ~SIGSYS_BIT;
    if ((int)a[0] == SET_MASK &&
        (sys2(SYS_rt_sigpending, &waiting, sizeof(waiting)) || waiting & ~set))
        return CALL_DECLINE;
    return sys4(SYS_rt_sigprocmask, a[0], &set, a[2], sizeof(set));
}

static long
change_action(struct call *c)
{
    if (!c->a[1] || (int)c->a[0] == SIGSYS_NR || (int)c->a[0] == SIGCANCEL_NR)
        return CALL_DECLINE;
    return c->row->run(c);
}

/* st_dev, st_ino, st_nlink */
#define INODE_SIZE (offsetof(struct stat, st_nlink) + sizeof(nlink_t))

/* Of a descriptor: the kernel's answer is right but for a directory that merges, see
 * calls/files/inode.c. */
static long
stat_descriptor(int fd, unsigned long buf, const void *sp)
{
    struct known_directory known;
    const struct view_node *n;
    struct stat st;
    long r;

    if (fd < 0 || engine.plan->flags & (PLAN_IDENTITY | PLAN_FAKEROOT))
        return CALL_DECLINE;
    r = sys2(SYS_fstat, fd, buf);
    if (r)
        return r;
    if (user_copy_near(sp, &st, buf, offsetof(struct stat, st_mode) + sizeof(st.st_mode)))
        return -EFAULT;
    if (st.st_mode == PROCFILE_MODE)
        return CALL_DECLINE;
    if (!engine.fs.upper || !S_ISDIR(st.st_mode) || dircache_outside(st.st_dev, st.st_ino))
        return 0;
    if (!dircache_find(st.st_dev, st.st_ino, &known))
        return CALL_DECLINE;
    if (!known.moves)
        return lookup_is_bare(known.ctr, known.len) ? 0 : CALL_DECLINE;
    n = view_node(&engine.fs.view, known.node);
    if (!n || known.len <= 1)
        return 0;
    return lower_show_merged(n, &st) ? user_put_near(sp, buf, &st, INODE_SIZE) : CALL_DECLINE;
}

/* fstat, as glibc 2.33 and later make it: with an empty path. */
static long
stat_empty(const unsigned long *a, const void *sp)
{
    char first;

    if (a[3] != AT_EMPTY_PATH || !a[1])
        return CALL_DECLINE;
    if (user_copy_near(sp, &first, a[1], 1))
        return -EFAULT;
    return first ? CALL_DECLINE : stat_descriptor((int)a[0], a[2], sp);
}

/* ---- all others ---- */

static long
run_on_own_stack(struct call *c, const void *sp)
{
    static const uint64_t all = ~SIGSYS_BIT;
    long result = CALL_DECLINE;
    int slot;

    sys4(SYS_rt_sigprocmask, SET_MASK, &all, c->mask, 8);
    slot = take_slot(sp);
    if (slot >= 0) {
        void *top = stack_top(slot);

        if (top)
            result = fast_on_stack(c, top);
        __atomic_store_n(&fast_busy[slot], 0, __ATOMIC_RELEASE);
    }
    sys4(SYS_rt_sigprocmask, SET_MASK, c->mask, 0, 8);
    return result;
}

static bool
tells_inode(long nr)
{
    return nr == SYS_newfstatat || nr == SYS_fstat || nr == SYS_stat || nr == SYS_lstat ||
           nr == SYS_statx;
}

static long
carry_out(struct fast_frame *f)
{
    uint64_t mask = 0;
    struct call c = {
        .row = call_find(f->site->nr),
        .a = {f->a[0], f->a[1], f->a[2], f->a[3], f->a[4], f->a[5]},
        .mask = &mask,
        .slot = -1,
        .fast = true,
        .sp = f,
    };
    long result = CALL_DECLINE;

    if (inode_has_copies && tells_inode(c.row->nr))
        return run_on_own_stack(&c, f);
    switch (c.row->nr) {
    case SYS_rt_sigprocmask:
        return change_mask(c.a, f);
    case SYS_rt_sigaction:
        return change_action(&c);
    case SYS_newfstatat:
        result = stat_empty(c.a, f);
        break;
    case SYS_fstat:
        result = stat_descriptor((int)c.a[0], c.a[1], f);
        break;
    }
    if (result == CALL_DECLINE)
        result = lookup_call(c.row->nr, c.a, f);
    return result == CALL_DECLINE ? run_on_own_stack(&c, f) : result;
}

__attribute__((used)) static long
fast_call(struct fast_frame *f)
{
    long result;

    if (!f->site->cancellable)
        return carry_out(f);
    __atomic_fetch_add(&fast_cancellable_inside, 1, __ATOMIC_ACQUIRE);
    result = carry_out(f);
    __atomic_fetch_sub(&fast_cancellable_inside, 1, __ATOMIC_RELEASE);
    return result;
}
