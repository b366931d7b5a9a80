/* Does a process run on its parent's memory, as a vfork child does until it executes? */
#include "vfork.h"

#include "../../base/libc.h"
#include "../../base/str.h"
#include "../../engine/engine.h"
#include "../../engine/procnumber.h"

#include <linux/kcmp.h>
#include <sys/mman.h>

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

/* Where the kernel does not compare memories (kcmp is not built in, or denied): a page of which a
 * fork's copy is zeros, while a vfork child sees ours. It costs each start and each fork a mapping.
 */
static union {
    int pid;
    char page[4096];
} owner __attribute__((aligned(4096)));

bool
vfork_compares_memory(void)
{
    long pid = sys0(SYS_getpid);

    return sys5(SYS_kcmp, pid, pid, KCMP_VM, 0, 0) == 0;
}

HOT_TEXT void
vfork_mark_process(void)
{
    if (engine.marks_processes && !sys3(SYS_madvise, &owner, sizeof(owner), MADV_WIPEONFORK))
        owner.pid = (int)sys0(SYS_getpid);
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
vfork_shares_memory(void)
{
    int pid = (int)sys0(SYS_getpid);
    long r;

    if (engine.marks_processes)
        return owner.pid && owner.pid != pid;
    r = sys5(SYS_kcmp, pid, sys0(SYS_getppid), KCMP_VM, 0, 0);
    return r < 0 ? parent_grows_with_us() : r == 0;
}
