/* A signal for the whole process waits for the thread that the kernel has woken for it, the main
 * one where that takes it; but whichever thread changes its mask before that one gets to run has
 * it. Natively few do. Here every call that we carry out ends with a change of the mask, and then
 * the sleep, the poll or the lock in which the main thread waits would go on as if nothing had
 * come: a Ctrl-C that is lost. So another thread that finds such a signal gives the main one a
 * moment. */
#include "pending.h"

#include "../../base/libc.h"
#include "../../engine/engine.h"

#include <fcntl.h>
#include <time.h>

#define PAUSE_NS    200000
#define PATIENCE    1000 /* pauses: the main thread may wait long for a processor */
#define LOOK_AGAIN  16   /* pauses after which it may have ended */
#define STATUS_SIZE 8192 /* /proc/self/status; a user of many groups has a long one */
#define STACK_USUAL (8UL << 20)

/* Where the main thread's stack begins. Who stands on it is taken for the main thread, which costs
 * no system call: one that borrows it would be less polite, and a main one on a stack of its own is
 * asked. */
HOT static unsigned long main_stack;

/* The set in the line of @status that begins with @name. */
static uint64_t
set_of_line(const char *status, const char *name)
{
    size_t len = strlen(name);
    uint64_t set = 0;

    for (; *status; status++) {
        if (*status != '\n' || strncmp(status + 1, name, len) != 0)
            continue;
        for (status += 1 + len; *status && *status != '\n'; status++)
            if (*status >= '0')
                set = set << 4 | (unsigned)(*status <= '9' ? *status - '0' : *status - 'a' + 10);
        break;
    }
    return set;
}

/* Is the thread one that takes signals: neither ended, nor stopped, nor where none wakes it? */
static bool
is_awake(const char *status)
{
    static const char state[] = "State:\t";

    for (; *status; status++)
        if (*status == '\n' && !strncmp(status + 1, state, sizeof(state) - 1))
            return status[sizeof(state)] == 'R' || status[sizeof(state)] == 'S';
    return false;
}

/* Of @signals those that wait for the process, not for a thread, and that its main thread takes. */
static uint64_t
of_main_thread(uint64_t signals)
{
    char status[STATUS_SIZE];
    int fd = (int)sys4(SYS_openat, AT_FDCWD, "/proc/self/status", O_RDONLY | O_CLOEXEC, 0);
    long n = fd < 0 ? -1 : sys3(SYS_read, fd, status, sizeof(status) - 1);

    if (fd >= 0)
        sys1(SYS_close, fd);
    if (n <= 0)
        return 0;
    status[n] = '\0';
    if (!is_awake(status))
        return 0;
    return signals & set_of_line(status, "ShdPnd:") & ~set_of_line(status, "SigBlk:");
}

HOT_TEXT static uint64_t
waiting(uint64_t mask)
{
    uint64_t set = 0;

    return sys2(SYS_rt_sigpending, &set, sizeof(set)) ? 0 : set & ~mask;
}

void
pending_start(const void *sp)
{
    main_stack = (unsigned long)sp;
}

HOT_TEXT void
pending_leave(uint64_t mask, unsigned long sp)
{
    struct timespec pause = {.tv_nsec = PAUSE_NS};
    uint64_t signals;

    if (main_stack - sp < STACK_USUAL || sys0(SYS_gettid) == sys0(SYS_getpid))
        return;
    signals = waiting(mask);
    for (int i = 0; signals && i < PATIENCE; i++) {
        if (i % LOOK_AGAIN == 0)
            signals = of_main_thread(signals);
        if (signals)
            sys2(SYS_nanosleep, &pause, NULL);
        signals &= waiting(mask);
    }
}
