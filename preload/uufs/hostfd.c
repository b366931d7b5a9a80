/* Descriptors of our own: the lock, the two ends of a copy, a program's head. A plain kernel takes
 * none from the program for mkdir or execve, so a full table must not be the program's concern. */
#include "hostfd.h"

#include "../base/sys.h"

#include <sys/resource.h>

HOT_FILE;

#define SPARE 8 /* what one call of ours may need at once, in a few threads */

static long
limit(const struct rlimit *set, struct rlimit *old)
{
    return sys4(SYS_prlimit64, 0, RLIMIT_NOFILE, set, old);
}

/* As openat, and where the soft limit is reached but not the hard one, a little above it. */
int
hostfd_open(const char *host, int flags, unsigned mode)
{
    long fd = sys4(SYS_openat, AT_FDCWD, host, flags | O_CLOEXEC, mode);
    struct rlimit old, more;

    if (fd != -EMFILE || limit(NULL, &old) || old.rlim_cur >= old.rlim_max)
        return (int)fd;
    more = old;
    more.rlim_cur = old.rlim_max - old.rlim_cur < SPARE ? old.rlim_max : old.rlim_cur + SPARE;
    if (limit(&more, NULL))
        return (int)fd;
    fd = sys4(SYS_openat, AT_FDCWD, host, flags | O_CLOEXEC, mode);
    limit(&old, NULL);
    return (int)fd;
}
