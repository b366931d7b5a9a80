/* What lies deeper than a path can say. Programs get there by steps (chdir, openat), and from there
 * everything is relative to the working directory or to a descriptor; so it is for us, by the
 * kernel's links /proc/self/cwd and /proc/self/fd/N.
 *
 * Only in binds and below directories that are the upper's alone, where the union is what the disk
 * has: layers do not reach there. Its hits are as those of a bind that has no number. What it is
 * not: a way to name such a place, so owners are not remembered there. */
#include "longpath.h"

#include "../../base/str.h"
#include "../../engine/engine.h"
#include "../../uufs/escape.h"
#include "../../uufs/hostfd.h"
#include "../../uufs/path.h"
#include "../../uufs/proclink.h"
#include "../../uufs/walk/fromhost.h"
#include "../../uufs/walk/walk.h"

#include <sys/stat.h>

#define MAX_LINKS 40   /* as the kernel's */
#define MAX_STEP  1024 /* directories that are gone up at once */

struct deep {
    struct uufs_hit *hit; /* host: the way so far */
    unsigned how, links;
    bool in_upper;
    const char *rest;
    char target[LPMX_PATH_MAX];
    char pending[2 * LPMX_PATH_MAX]; /* rest lives at its end once a symlink was met */
};

/* ---- the ground ---- */

/* The container path of the directory @fd into @ctr. -ENAMETOOLONG: it has none that fits. */
static OWN_FRAME int
name_directory(int fd, char *ctr)
{
    char host[LPMX_PATH_MAX];
    long n = proc_fd_target(fd, host, sizeof(host));

    if (n < 0)
        return (int)n;
    if (n == sizeof(host) - 1)
        return -ENAMETOOLONG;
    if (uufs_host_is_lower(&engine.fs, host))
        return -EROFS;
    return uufs_from_host(&engine.fs, host, ctr, LPMX_PATH_MAX);
}

/* Is all below the directory @fd what the disk has? 1, 0, or -ENAMETOOLONG: ask those above. */
static OWN_FRAME int
is_ground(struct deep *d, int fd)
{
    char ctr[LPMX_PATH_MAX];
    struct uufs_hit named;
    int err = name_directory(fd, ctr);

    if (!err)
        err = uufs_walk(&engine.fs, "/", ctr, 0, &named);
    if (err)
        return err == -ENAMETOOLONG ? err : 0;
    d->in_upper = named.in_union;
    d->hit->read_only = named.read_only;
    if (!named.in_union)
        return !(engine.fs.binds[named.bind].flags & UUFS_BIND_PROC);
    return named.where == UUFS_UPPER && named.node == VIEW_NONE;
}

/* The directory @n above @fd. */
static int
open_above(int fd, unsigned n)
{
    char path[3 * MAX_STEP + 1];

    for (unsigned i = 0; i < n; i++)
        memcpy(path + 3 * i, "../", 3);
    path[3 * n] = '\0';
    return (int)sys4(SYS_openat, fd, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
}

/* Look for ground above hit->host: in steps that grow, and where they have gone too far one by one.
 */
static bool
stands_on_ground(struct deep *d)
{
    int fd = hostfd_open(d->hit->host, O_PATH | O_DIRECTORY, 0), above, r;
    unsigned step = 1;
    bool grows = true;

    if (fd < 0)
        return false;
    r = is_ground(d, fd);
    while (r == -ENAMETOOLONG) {
        above = open_above(fd, step);
        if (above < 0)
            break;
        r = is_ground(d, above);
        if (r || step == 1) {
            sys1(SYS_close, fd);
            fd = above;
        } else {
            sys1(SYS_close, above);
            r = -ENAMETOOLONG;
            grows = false;
        }
        step = !grows ? 1 : step < MAX_STEP ? 2 * step : step;
    }
    sys1(SYS_close, fd);
    return r == 1;
}

/* ---- the walk ---- */

static int
append(struct deep *d, const char *name, size_t len)
{
    struct uufs_hit *hit = d->hit;
    size_t n = hit->host_len;
    int err = len > LPMX_NAME_MAX ? -ENAMETOOLONG : 0;

    if (!err)
        err = str_append(hit->host, sizeof(hit->host), &n, "/", 1);
    if (!err)
        err = str_append(hit->host, sizeof(hit->host), &n, name, len);
    hit->host_len = (uint32_t)n;
    return err;
}

/* Put @target in front of what is left to walk. */
static int
push(struct deep *d, const char *target, size_t len)
{
    size_t rest_len = strlen(d->rest);
    char *at = d->pending + sizeof(d->pending) - rest_len - 1;

    if (len + rest_len + 2 > sizeof(d->pending))
        return -ENAMETOOLONG;
    memmove(at, d->rest, rest_len + 1);
    if (rest_len)
        *--at = '/';
    at -= len;
    memcpy(at, target, len);
    d->rest = at;
    return 0;
}

/* The rest of the path from a directory that has a name; -ENAMETOOLONG: it leads back down here. */
static OWN_FRAME int
walk_named(struct deep *d)
{
    char ctr[LPMX_PATH_MAX], rest[LPMX_PATH_MAX];
    int fd = hostfd_open(d->hit->host, O_PATH | O_DIRECTORY, 0), err;
    size_t len = 0;
    struct uufs_hit hit;

    if (fd < 0)
        return fd;
    err = name_directory(fd, ctr);
    sys1(SYS_close, fd);
    if (err)
        return err;
    while (*d->rest == '/')
        d->rest++;
    err = str_append(rest, sizeof(rest), &len, *d->rest ? d->rest : ".",
                     *d->rest ? strlen(d->rest) : 1);
    if (!err)
        err = uufs_walk(&engine.fs, ctr, rest, d->how, &hit);
    if (!err)
        memcpy(d->hit, &hit, sizeof(hit));
    return err;
}

/* The component at the end of hit->host is a symlink of @len bytes, in d->target. 1: all is done.
 */
static int
follow(struct deep *d, size_t dir_len, long len)
{
    struct uufs_hit *hit = d->hit;
    int err;

    if (++d->links > MAX_LINKS)
        return -ELOOP;
    hit->host_len = (uint32_t)dir_len;
    hit->host[dir_len] = '\0';
    err = push(d, d->target, (size_t)len);
    if (err || d->target[0] != '/')
        return err;
    if (strlen(d->rest) >= LPMX_PATH_MAX)
        return -ENAMETOOLONG;
    err = uufs_walk(&engine.fs, "/", d->rest, d->how, hit);
    return err ? err : 1;
}

/* One component. 1: all is done. */
static int
step(struct deep *d, const char *name, size_t len, bool last, bool slash)
{
    struct uufs_hit *hit = d->hit;
    size_t dir_len = hit->host_len;
    bool follows = !last || (slash ? !(d->how & UUFS_LAST) : d->how & UUFS_FOLLOW);
    struct stat st;
    long r;

    if (d->in_upper && len <= LPMX_NAME_MAX &&
        escape_needs(name, len)) /* its listings are the disk's */
        return last && d->how & UUFS_MISSING ? -EPERM : -ENOENT;
    r = append(d, name, len);
    if (r)
        return (int)r;
    r = sys4(SYS_newfstatat, AT_FDCWD, hit->host, &st, AT_SYMLINK_NOFOLLOW);
    if (r == -ENOENT && last && d->how & UUFS_MISSING) {
        hit->where = UUFS_ABSENT;
        return 0;
    }
    if (r)
        return (int)r;
    hit->type = st.st_mode & S_IFMT;
    if (hit->type == S_IFLNK && follows) {
        r = sys4(SYS_readlinkat, AT_FDCWD, hit->host, d->target, sizeof(d->target) - 1);
        if (r <= 0)
            return r ? (int)r : -ENOENT;
        d->target[r] = '\0';
        hit->type = S_IFDIR;
        return follow(d, dir_len, r);
    }
    return hit->type != S_IFDIR && (!last || (slash && !(d->how & UUFS_LAST))) ? -ENOTDIR : 0;
}

static int
step_up(struct deep *d)
{
    int err = append(d, "..", 2);

    if (!err)
        err = walk_named(d);
    if (!err)
        return 1;
    if (err == -ENAMETOOLONG && !stands_on_ground(d))
        return err;
    d->hit->type = S_IFDIR;
    return err == -ENAMETOOLONG ? 0 : err;
}

static int
walk(struct deep *d)
{
    struct uufs_hit *hit = d->hit;

    for (;;) {
        const char *name = d->rest, *end, *after;
        bool dots;
        int r = 0;

        while (*name == '/')
            name++;
        if (!*name)
            return 0;
        for (end = after = path_skip(name); *after == '/';)
            after++;
        d->rest = end;
        dots = name[0] == '.' && (end - name == 1 || (end - name == 2 && name[1] == '.'));
        hit->must_be_dir = dots || after > end;
        if (dots && end - name == 2)
            r = step_up(d);
        else if (!dots)
            r = step(d, name, (size_t)(end - name), !*after, after > end);
        if (r)
            return r;
    }
}

int
longpath_walk(int dirfd, const char *path, unsigned how, struct uufs_hit *hit)
{
    struct deep d;
    size_t base_len;
    int r;

    d.hit = hit;
    d.how = how;
    d.links = 0;

    if (dirfd == AT_FDCWD)
        memcpy(hit->host, "/proc/self/cwd", 15);
    else
        proc_link_fd(dirfd, hit->host);
    base_len = strlen(hit->host);
    hit->host_len = (uint32_t)base_len;
    if (strlen(path) >= LPMX_PATH_MAX || !stands_on_ground(&d))
        return -ENAMETOOLONG;
    d.rest = path;
    hit->where = UUFS_BIND;
    hit->bind = UUFS_NO_NAME;
    hit->node = VIEW_NONE;
    hit->type = S_IFDIR;
    hit->lower_name = hit->in_union = hit->must_be_dir = hit->magic = false;
    r = walk(&d);
    if (r)
        return r < 0 ? r : 0;
    if (hit->host_len == base_len) /* the kernel's link itself is never meant */
        r = append(&d, ".", 1);
    memcpy(hit->ctr, hit->host, hit->host_len + 1);
    hit->ctr_len = hit->host_len;
    return r;
}
