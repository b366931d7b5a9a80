/* The seccomp filter, made from calls.def at the first start. What the table does not name is
 * allowed without running a single instruction (the kernel caches it); what it names is trapped
 * unless the loader's own text issued it. */
#include "filter.h"

#include "plan.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/fsverity.h>
#include <linux/netlink.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>

COLD_FILE;

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif
#define SYS_statmount      457
#define SYS_listmount      458
#define SYS_setxattrat     463
#define SYS_getxattrat     464
#define SYS_listxattrat    465
#define SYS_removexattrat  466
#define SYS_open_tree_attr 467
#define SYS_file_getattr   468
#define SYS_file_setattr   469
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

#define X32_BIT         0x40000000u
#define SIG_UNBLOCK_HOW 1
#define SIGSYS_NR       31

enum when {
    WHEN_never,
    WHEN_always,
    WHEN_identity,
    WHEN_fakeroot,
    WHEN_sets_mask,
    WHEN_sets_action,
    WHEN_address, /* sendto with a destination: argument 4 */
    WHEN_arg3,
    WHEN_arg4,
    WHEN_arg5,
    WHEN_peer_option, /* with --fakeroot: SO_PEERCRED, SO_PEERGROUPS */
    WHEN_pass_option, /* with --fakeroot: SO_PASSCRED */
    WHEN_names1,      /* with the second filter only: an address is asked for in argument 1 */
    WHEN_names4,
    WHEN_messages,   /* with the second filter only, and then not always */
    WHEN_traceme,    /* ptrace: only PTRACE_TRACEME */
    WHEN_sets_flags, /* ioctl: what changes a file through a descriptor for reading */
    WHEN_refuse,
    WHEN_new_mount_ns, /* unshare, clone: EPERM for CLONE_NEWNS */
    WHEN_audit, /* socket, where other ids are shown: no audit, which would refuse a shown root */
};

struct rule {
    uint8_t when, error;
};

static const struct rule rules[] = {
#define CALL(name, handler, when, ...) [SYS_##name] = {WHEN_##when, 0},
#define REFUSE(name, error, why)       [SYS_##name] = {WHEN_refuse, error},
#include "../calls.def"
#undef CALL
#undef REFUSE
    [SYS_socket] = {WHEN_audit, EPROTONOSUPPORT},
    [SYS_unshare] = {WHEN_new_mount_ns, EPERM},
    [SYS_clone] = {WHEN_new_mount_ns, EPERM},
};

struct range { /* numbers from @from up to the next range's have one answer */
    uint16_t from;
    struct rule rule;
};

struct program {
    struct sock_filter code[2048];
    uint16_t n;
    struct range ranges[2 * ARRAY_LEN(rules)];
    uint16_t n_ranges;
    uint16_t tails[256]; /* jumps to the common end, where a call is trapped */
    uint16_t n_tails;
};

static void
emit(struct program *p, uint16_t code, uint8_t yes, uint8_t no, uint32_t k)
{
    p->code[p->n++] = (struct sock_filter){code, yes, no, k};
}

#define ANSWER(value) emit(p, BPF_RET | BPF_K, 0, 0, (value))
#define LOAD(offset)  emit(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)(offset))
#define ARG(i)        (offsetof(struct seccomp_data, args) + 8 * (i))

extern const char text_start[], text_end[];

/* Trap, unless the instruction pointer lies in the loader's text. */
static void
emit_trap(struct program *p)
{
    uint64_t low = (uint64_t)text_start, high = (uint64_t)text_end;

    LOAD(offsetof(struct seccomp_data, instruction_pointer) + 4);
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 4, (uint32_t)(low >> 32));
    LOAD(offsetof(struct seccomp_data, instruction_pointer));
    emit(p, BPF_JMP | BPF_JGE | BPF_K, 0, 2, (uint32_t)low);
    emit(p, BPF_JMP | BPF_JGT | BPF_K, 1, 0, (uint32_t)high);
    ANSWER(SECCOMP_RET_ALLOW);
    ANSWER(SECCOMP_RET_TRAP);
}

/* Allow when argument @i is zero. */
static void
emit_unless_zero(struct program *p, unsigned i)
{
    LOAD(ARG(i));
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 3, 0);
    LOAD(ARG(i) + 4);
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0);
    ANSWER(SECCOMP_RET_ALLOW);
}

/* Allow options of a socket other than @one and @other of its own level. */
static void
emit_unless_option(struct program *p, uint32_t one, uint32_t other)
{
    LOAD(ARG(1));
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 3, SOL_SOCKET);
    LOAD(ARG(2));
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, 2, 0, one);
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, other);
    ANSWER(SECCOMP_RET_ALLOW);
}

/* A jump to the common trap, filled in at the end. */
static void
emit_tail(struct program *p)
{
    p->tails[p->n_tails++] = p->n;
    emit(p, BPF_JMP | BPF_JA, 0, 0, 0);
}

static void
emit_rule(struct program *p, struct rule rule)
{
    switch (rule.when) {
    case WHEN_never:
        ANSWER(SECCOMP_RET_ALLOW);
        return;
    case WHEN_refuse:
        ANSWER(SECCOMP_RET_ERRNO | rule.error);
        return;
    case WHEN_new_mount_ns:
        LOAD(ARG(0));
        emit(p, BPF_JMP | BPF_JSET | BPF_K, 0, 1, CLONE_NEWNS);
        ANSWER(SECCOMP_RET_ERRNO | rule.error);
        ANSWER(SECCOMP_RET_ALLOW);
        return;
    case WHEN_audit:
        LOAD(ARG(0));
        emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 3, AF_NETLINK);
        LOAD(ARG(2));
        emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, NETLINK_AUDIT);
        ANSWER(SECCOMP_RET_ERRNO | rule.error);
        ANSWER(SECCOMP_RET_ALLOW);
        return;
    case WHEN_sets_mask:
        LOAD(ARG(0));
        emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SIG_UNBLOCK_HOW);
        ANSWER(SECCOMP_RET_ALLOW);
        emit_unless_zero(p, 1);
        break;
    case WHEN_sets_action:
        LOAD(ARG(0));
        emit(p, BPF_JMP | BPF_JEQ | BPF_K, 5, 0, SIGSYS_NR);
        emit_unless_zero(p, 1);
        break;
    case WHEN_address:
    case WHEN_arg4:
        emit_unless_zero(p, 4);
        break;
    case WHEN_traceme:
        LOAD(ARG(0));
        emit(p, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 0 /* PTRACE_TRACEME */);
        ANSWER(SECCOMP_RET_ALLOW);
        break;
    case WHEN_sets_flags:
        LOAD(ARG(1));
        emit(p, BPF_JMP | BPF_JEQ | BPF_K, 3, 0, FS_IOC_SETFLAGS);
        emit(p, BPF_JMP | BPF_JEQ | BPF_K, 2, 0, FS_IOC_FSSETXATTR);
        emit(p, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, FS_IOC_ENABLE_VERITY);
        ANSWER(SECCOMP_RET_ALLOW);
        break;
    case WHEN_arg3:
        emit_unless_zero(p, 3);
        break;
    case WHEN_arg5:
        emit_unless_zero(p, 5);
        break;
    case WHEN_peer_option:
        emit_unless_option(p, SO_PEERCRED, SO_PEERGROUPS);
        break;
    case WHEN_pass_option:
        emit_unless_option(p, SO_PASSCRED, SO_PASSCRED);
        break;
    case WHEN_names1:
        emit_unless_zero(p, 1);
        break;
    case WHEN_names4:
        emit_unless_zero(p, 4);
        break;
    }
    emit_tail(p);
}

/* A binary search over ranges[low, high): inner nodes compare and jump, leaves answer. */
static void
emit_search(struct program *p, unsigned low, unsigned high)
{
    unsigned middle = (low + high) / 2;
    uint16_t jump;

    if (high - low == 1) {
        emit_rule(p, p->ranges[low].rule);
        return;
    }
    emit(p, BPF_JMP | BPF_JGE | BPF_K, 0, 1, p->ranges[middle].from);
    jump = p->n;
    emit(p, BPF_JMP | BPF_JA, 0, 0, 0);
    emit_search(p, low, middle);
    p->code[jump].k = p->n - jump - 1U;
    emit_search(p, middle, high);
}

static bool
is_late(uint8_t when)
{
    return when == WHEN_names1 || when == WHEN_names4 || when == WHEN_messages;
}

/* What the rule comes to in the first filter of a plan, or in the second one (@late). */
static struct rule
decide(struct rule rule, uint32_t plan_flags, unsigned late)
{
    if (late && (!is_late(rule.when) || (rule.when == WHEN_messages && late < FILTER_MESSAGES)))
        return (struct rule){WHEN_never, 0};
    if (!late && is_late(rule.when))
        rule.when = WHEN_never;
    if (rule.when == WHEN_identity)
        rule.when = plan_flags & PLAN_IDENTITY ? WHEN_always : WHEN_never;
    if (rule.when == WHEN_audit && !(plan_flags & PLAN_IDENTITY))
        return (struct rule){WHEN_never, 0};
    if (rule.when == WHEN_fakeroot)
        rule.when = plan_flags & PLAN_FAKEROOT ? WHEN_always : WHEN_never;
    if ((rule.when == WHEN_peer_option || rule.when == WHEN_pass_option) &&
        !(plan_flags & PLAN_FAKEROOT))
        rule.when = WHEN_never;
    return rule;
}

/* Neighbours with the same answer are one range: installing a filter costs by its length, at every
 * start. */
static void
find_ranges(struct program *p, uint32_t plan_flags, unsigned late)
{
    struct rule last = {255, 0};

    for (size_t nr = 0; nr <= ARRAY_LEN(rules); nr++) {
        struct rule rule = nr < ARRAY_LEN(rules) ? rules[nr] : (struct rule){WHEN_never, 0};

        rule = decide(rule, plan_flags, late);
        if (rule.when == last.when && rule.error == last.error)
            continue;
        p->ranges[p->n_ranges++] = (struct range){(uint16_t)nr, rule};
        last = rule;
    }
}

static void
build(struct program *p, uint32_t plan_flags, unsigned late)
{
    p->n = p->n_ranges = p->n_tails = 0;
    find_ranges(p, plan_flags, late);
    LOAD(offsetof(struct seccomp_data, arch));
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, AUDIT_ARCH_X86_64);
    ANSWER(SECCOMP_RET_ERRNO | ENOSYS);
    LOAD(offsetof(struct seccomp_data, nr));
    emit(p, BPF_JMP | BPF_JGE | BPF_K, 0, 1, X32_BIT);
    ANSWER(SECCOMP_RET_ERRNO | ENOSYS);
    emit_search(p, 0, p->n_ranges);
    for (unsigned i = 0; i < p->n_tails; i++)
        p->code[p->tails[i]].k = p->n - p->tails[i] - 1U;
    emit_trap(p);
}

static struct program built;

int
filter_install(uint32_t plan_flags)
{
    struct sock_fprog prog;
    long r;

    build(&built, plan_flags, 0);
    prog.len = built.n;
    prog.filter = built.code;
    r = sys5(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (r < 0)
        return (int)r;
    r = sys3(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &prog);
    if (r == -EINVAL || r == -ENOSYS) /* a kernel before 4.17 */
        r = sys3(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
    return (int)r;
}

/* Other threads get it too, unless one has a filter of its own. */
int
filter_install_late(enum filter_late level)
{
    static int busy;
    struct sock_fprog prog;
    long r;

    while (__atomic_exchange_n(&busy, 1, __ATOMIC_ACQUIRE))
        sys0(SYS_sched_yield);
    build(&built, 0, level);
    prog.len = built.n;
    prog.filter = built.code;
    r = sys3(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
             SECCOMP_FILTER_FLAG_SPEC_ALLOW | SECCOMP_FILTER_FLAG_TSYNC, &prog);
    if (r > 0)
        r = sys3(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &prog);
    if (r == -EINVAL || r == -ENOSYS)
        r = sys3(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
    __atomic_store_n(&busy, 0, __ATOMIC_RELEASE);
    return (int)r;
}
