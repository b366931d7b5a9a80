/* Which names below /proc are magic links. What they stand for is the walk's to find out. */
#include "proclink.h"

#include "../base/str.h"
#include "path.h"

enum proc_link
proc_link_kind(const char *rel)
{
    const char *p = rel;

    if (*p++ != '/' || !(path_begins_with(p, "self") || path_begins_with(p, "thread-self") ||
                         (*p >= '0' && *p <= '9')))
        return PROC_PLAIN;
    p = path_skip(p);
    if (*p && path_begins_with(p + 1, "task")) {
        p = path_skip(p + 1);
        if (*p)
            p = path_skip(p + 1);
    }
    if (!*p)
        return PROC_PLAIN;
    p++;
    if (!strcmp(p, "exe"))
        return PROC_EXE;
    if (!strcmp(p, "cwd"))
        return PROC_CWD;
    if (!strcmp(p, "root"))
        return PROC_ROOT;
    if (path_begins_with(p, "fd") && p[2] == '/' && p[3] && !*path_skip(p + 3))
        return PROC_FD;
    return PROC_PLAIN;
}

size_t
proc_link_fd(int fd, char link[PROC_LINK_SIZE])
{
    memcpy(link, "/proc/self/fd/", 14);
    return 14 + str_decimal(link + 14, (uint64_t)fd);
}

long
proc_fd_target(int fd, char *name, size_t cap)
{
    char link[PROC_LINK_SIZE];
    long n;

    proc_link_fd(fd, link);
    n = sys4(SYS_readlinkat, AT_FDCWD, link, name, cap - 1);
    name[n > 0 ? n : 0] = '\0';
    return n;
}
