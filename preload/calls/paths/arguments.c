/* Bad flags, masks, times and names of attributes, in the kernel's order: see arguments.h. */
#include "arguments.h"

#include "../program/perform.h"

#include <linux/stat.h>

HOT_FILE;

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

/* A path whose lookup fails whatever the host has. */
static const char no_path[] = "/dev/null/none";

static bool
is_path_error(long r)
{
    return r == -ENOENT || r == -ENOTDIR || r == -EACCES || r == -ELOOP || r == -ENAMETOOLONG;
}

/* What the kernel answers: an error of the path, where nothing else is wrong. */
COLD static long
probe(const struct call *c)
{
    struct call asked = *c;

    asked.a[c->row->path] = (unsigned long)no_path;
    if (c->row->dirfd != CALL_CWD)
        asked.a[c->row->dirfd] = (unsigned long)AT_FDCWD;
    return call_raw(&asked);
}

/* Is there anything in flags and modes that programs do not pass every day? */
static bool
is_odd(const struct call *c)
{
    const unsigned long plain = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH;
    const unsigned long look = plain | AT_NO_AUTOMOUNT;

    switch (c->row->nr) {
    case SYS_newfstatat:
        return c->a[3] & ~look;
    case SYS_statx:
        return c->a[2] & ~(look | AT_STATX_DONT_SYNC) || c->a[3] & STATX__RESERVED;
    case SYS_access:
        return c->a[1] & ~7UL;
    case SYS_faccessat:
        return c->a[2] & ~7UL;
    case SYS_faccessat2:
        return c->a[2] & ~7UL || c->a[3] & ~(plain | AT_EACCESS);
    case SYS_fchmodat2:
        return c->a[3] & ~plain;
    case SYS_fchownat:
        return c->a[4] & ~plain;
    case SYS_setxattr:
    case SYS_lsetxattr:
        return c->a[4] & ~3UL;
    }
    return false;
}

long
arguments_check(const struct call *c)
{
    long r = is_odd(c) ? probe(c) : 0;

    return r < 0 && !is_path_error(r) ? r : 0;
}

COLD long
arguments_first(const struct call *c, long r)
{
    long first;

    switch (c->row->nr) {
    case SYS_utime:
    case SYS_utimes:
    case SYS_futimesat:
    case SYS_utimensat:
    case SYS_inotify_add_watch:
    case SYS_name_to_handle_at:
    case SYS_setxattr:
    case SYS_lsetxattr:
    case SYS_getxattr:
    case SYS_lgetxattr:
    case SYS_removexattr:
    case SYS_lremovexattr:
    case SYS_mknod:
    case SYS_mknodat:
        if ((!is_path_error(r) && r != -EEXIST && r != -EROFS) || !c->a[c->row->path])
            return r;
        first = probe(c);
        return is_path_error(first) ? r : first;
    }
    return r;
}
