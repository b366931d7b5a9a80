/* The disk is full, or does not answer: whichever system call of ours is refused, the program's
 * call fails with that very error and changes nothing, or is done; nothing is lost, no layer
 * touched. Each random call is made again and again, its first, second, third ... call of the
 * kernel refused by a tracer, until it was done without being disturbed. */
#include "outcome_tools.h"

#include <sys/user.h>

#define MAX_CALLS 2000

enum fault { FULL, BROKEN, N_FAULTS };

static const int fault_error[N_FAULTS] = {ENOSPC, EIO};

/* Those that need room on the disk. */
static bool
takes_room(const struct user_regs_struct *regs)
{
    switch (regs->orig_rax) {
    case SYS_openat:
        return regs->rdx & O_CREAT;
    case SYS_mkdirat:
    case SYS_mknodat:
    case SYS_symlinkat:
    case SYS_linkat:
    case SYS_renameat:
    case SYS_renameat2:
    case SYS_pwrite64:
    case SYS_copy_file_range:
    case SYS_lsetxattr:
        return true;
    }
    return false;
}

/* Those that ask the disk for something, or tell it. Putting back a folder's times and mode after
 * our own changes is left out: there is nothing more to be done when that fails. */
static bool
asks_disk(const struct user_regs_struct *regs)
{
    switch (regs->orig_rax) {
    case SYS_newfstatat:
    case SYS_readlinkat:
    case SYS_getdents64:
    case SYS_pread64:
    case SYS_lseek:
    case SYS_ftruncate:
    case SYS_openat:
    case SYS_unlinkat:
        return true;
    }
    return takes_room(regs);
}

static bool
is_struck(enum fault fault, pid_t pid)
{
    struct user_regs_struct regs;

    must(!ptrace(PTRACE_GETREGS, pid, 0, &regs), "getregs");
    return fault == FULL ? takes_room(&regs) : asks_disk(&regs);
}

static void
set_registers(pid_t pid, bool entry, int error)
{
    struct user_regs_struct regs;

    must(!ptrace(PTRACE_GETREGS, pid, 0, &regs), "getregs");
    if (entry)
        regs.orig_rax = (unsigned long long)-1; /* no such call: the kernel does nothing */
    else
        regs.rax = (unsigned long long)-error;
    must(!ptrace(PTRACE_SETREGS, pid, 0, &regs), "setregs");
}

/* On to the next stop at a system call; false: the child has ended. */
static bool
next_stop(pid_t pid)
{
    int status;

    must(!ptrace(PTRACE_SYSCALL, pid, 0, 0), "ptrace");
    must(waitpid(pid, &status, 0) == pid, "waitpid");
    must(WIFEXITED(status) || WIFSTOPPED(status), "the child died");
    return WIFSTOPPED(status);
}

/* Make the call in a child and refuse the @nth of its calls that can be refused. False: there are
 * not so many. */
static bool
run_and_refuse(const struct uufs *fs, const struct op *op, enum fault fault, unsigned nth,
               int *answer)
{
    bool refused = false;
    int status;
    pid_t pid = fork();

    if (!pid) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        *answer = op_union(fs, op);
        _exit(0);
    }
    must(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status), "waitpid");
    while (next_stop(pid)) {
        bool now = is_struck(fault, pid) && !refused && !--nth;

        if (now)
            set_registers(pid, true, 0);
        if (!next_stop(pid))
            break;
        if (now)
            set_registers(pid, false, fault_error[fault]);
        refused |= now;
    }
    return refused;
}

/* The call's answer may be the error, or a success in spite of it. */
static void
judge(const struct op *op, enum fault fault, unsigned nth, int answer, int seen)
{
    bool right = answer == -fault_error[fault] || (answer >= 0 && seen == 1);

    CHECK(right);
    if (!right)
        fprintf(stderr, "%s %s %s: call %u refused with %d: answer %d, seen %d\n",
                kind_name[op->kind], op->a, op->b, nth, fault_error[fault], answer, seen);
}

static int
refuse_everywhere(const struct box *b, const char *plain, const struct op *op, enum fault fault,
                  int *answer)
{
    unsigned nth = 1;

    for (; nth < MAX_CALLS && run_and_refuse(&b->fs, op, fault, nth, answer); nth++) {
        int seen = what_is_seen(b, plain, op);

        judge(op, fault, nth, *answer, seen);
        if (seen)
            return seen;
    }
    CHECK(nth < MAX_CALLS);
    if (!*answer)
        CHECK_EQ(op_plain(plain, op), 0);
    return 1;
}

static void
test_a_refused_call_changes_nothing_or_is_done(uint64_t seed, unsigned calls, enum fault fault)
{
    struct box b;
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
    int *answer = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int seen = 1;

    box_random(&b, &state);
    char *plain = strdup(path_in(&b, "plain"));
    unsigned long lower = tree_checksum(path_in(&b, "layers"));

    for (unsigned i = 0; i < calls && seen >= 0; i++) {
        struct op op;

        do
            random_op(&state, N_ATOMIC, &op);
        while (!plausible(plain, &op));
        seen = refuse_everywhere(&b, plain, &op, fault, answer);
        CHECK(seen >= 0);
        if (seen < 0)
            fprintf(stderr, "seed %llu, call %u\n", (unsigned long long)seed, i);
    }
    CHECK_EQ(lower, tree_checksum(path_in(&b, "layers")));
    munmap(answer, 4096);
    free(plain);
    box_free(&b);
}

int
main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    unsigned rounds = argc > 2 ? (unsigned)atoi(argv[2]) : 3;

    umask(022);
    tree_breadth = 3;
    tree_depth = 2;
    for (uint64_t seed = first; seed < first + rounds; seed++)
        for (enum fault fault = FULL; fault < N_FAULTS; fault++)
            test_a_refused_call_changes_nothing_or_is_done(seed, 30, fault);
    return check_done("uufs faults");
}
