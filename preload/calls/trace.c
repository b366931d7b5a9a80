/* PTRACE_TRACEME of a vfork child, as debuggers and Go make it. From that call on a trap stops the
 * child for its tracer; but the tracer is the parent, and waits for the child to execute. So the
 * call is made at the moment of the execve, when no more traps come. Elsewhere it is the kernel's
 * at once: a forked child may stop itself before it executes. */
#include "call.h"

#include <linux/kcmp.h>
#include <sys/mman.h>
#include <sys/ptrace.h>

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

HOT static int pending[8]; /* vfork children that will be traced */
HOT static int tracee;     /* the process that asked for it; its forks inherit the number alone */

/* Where the kernel does not compare memories (kcmp is not built in, or denied): a page of which a
 * fork's copy is zeros, while a vfork child sees ours. It costs each start and each fork a mapping.
 */
static union {
    int pid;
    char page[4096];
} owner __attribute__((aligned(4096)));

bool
trace_compares_memory(void)
{
    long pid = sys0(SYS_getpid);

    return sys5(SYS_kcmp, pid, pid, KCMP_VM, 0, 0) == 0;
}

HOT_TEXT void
trace_mark_process(void)
{
    if (engine.marks_processes && !sys3(SYS_madvise, &owner, sizeof(owner), MADV_WIPEONFORK))
        owner.pid = (int)sys0(SYS_getpid);
}

long
proc_number(const char *path, unsigned blanks)
{
    char text[512], *p = text;
    int fd = uufs_open(path, O_RDONLY, 0);
    long n = fd < 0 ? -1 : sys3(SYS_read, fd, text, sizeof(text) - 1), number = 0;

    if (fd >= 0)
        sys1(SYS_close, fd);
    if (n <= 0)
        return -1;
    text[n] = '\0';
    for (char *q = text; *q; q++)
        if (*q == ')')
            p = q;
    for (; *p && blanks; p++)
        blanks -= *p == ' ';
    if (*p < '0' || *p > '9')
        return -1;
    for (; *p >= '0' && *p <= '9'; p++)
        number = number * 10 + *p - '0';
    return number;
}

/* The first process of a pid namespace cannot name its parent to the kernel. But /proc is of an
 * outer one and knows it, and a mapping of ours makes it larger if it has our memory. */
COLD static int
parent_grows_with_us(void)
{
    const long pages = 4801; /* what is mapped at that moment by another thread has another size */
    char path[40] = "/proc/";
    long parent = proc_number("/proc/self/stat", 2), before, after;
    size_t len = 6;

    if (parent <= 0)
        return -1;
    len += str_decimal(path + len, (uint64_t)parent);
    memcpy(path + len, "/statm", 7);
    for (int tries = 0; tries < 3; tries++) {
        before = proc_number(path, 0);
        long at = sys6(SYS_mmap, 0, pages * 4096, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (before < 0 || sys_failed(at))
            return -1;
        after = proc_number(path, 0);
        sys2(SYS_munmap, at, pages * 4096);
        if (after - before == pages)
            return 1;
    }
    return 0;
}

int
trace_shares_memory(void)
{
    int pid = (int)sys0(SYS_getpid);
    long r;

    if (engine.marks_processes)
        return owner.pid && owner.pid != pid;
    r = sys5(SYS_kcmp, pid, sys0(SYS_getppid), KCMP_VM, 0, 0);
    return r < 0 ? parent_grows_with_us() : r == 0;
}

long
call_ptrace(struct call *c)
{
    int tid = (int)sys0(SYS_gettid);
    long r;

    if (trace_shares_memory() != 1) {
        r = call_raw(c);
        if (!r)
            trace_mark_traced();
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
trace_before_exec(void)
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
trace_mark_traced(void)
{
    tracee = (int)sys0(SYS_getpid);
}

HOT_TEXT bool
trace_is_wanted(void)
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
