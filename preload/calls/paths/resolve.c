/* From a call's arguments to a hit in the union: directory descriptors, flags, and what must happen
 * before a change. */
#include "resolve.h"

#include "../../base/libc.h"
#include "../../engine/engine.h"
#include "../../uufs/dirty.h"
#include "../../uufs/proclink.h"
#include "../../uufs/walk/fromhost.h"
#include "../../uufs/walk/hit.h"
#include "../../uufs/walk/walk.h"
#include "../fakeroot/permission.h"
#include "../program/root.h"
#include "../program/usermem.h"
#include "dircache.h"
#include "longpath.h"

#include <signal.h>
#include <sys/inotify.h>
#include <sys/stat.h>

HOT_FILE;

int
call_dirfd(const struct call *c)
{
    return c->row->dirfd == CALL_CWD ? AT_FDCWD : (int)c->a[c->row->dirfd];
}

unsigned
call_how(const struct call *c)
{
    unsigned last = c->row->last_how;

    if (last >= LAST_FLAG_FOLLOW)
        return c->a[last - LAST_FLAG_FOLLOW] & AT_SYMLINK_FOLLOW ? UUFS_FOLLOW : 0;
    if (last >= LAST_FLAG_NOFOLLOW)
        return c->a[last - LAST_FLAG_NOFOLLOW] & AT_SYMLINK_NOFOLLOW ? 0 : UUFS_FOLLOW;
    if (last == LAST_inotify)
        return c->a[2] & IN_DONT_FOLLOW ? 0 : UUFS_FOLLOW;
    return last == LAST_follow ? UUFS_FOLLOW : last == LAST_last ? UUFS_LAST : 0;
}

static const char deleted[] = " (deleted)"; /* what the kernel says after a name that is gone */

static bool
is_deleted(const char *host, size_t len)
{
    return len >= sizeof(deleted) && !strcmp(host + len - (sizeof(deleted) - 1), deleted);
}

static long
read_fd_link(int fd, char *host, size_t cap)
{
    long n;

    if (fd != AT_FDCWD)
        return proc_fd_target(fd, host, cap);
    n = sys4(SYS_readlinkat, AT_FDCWD, "/proc/thread-self/cwd", host, cap - 1);
    host[n > 0 ? n : 0] = '\0';
    return n;
}

/* Is the directory with the metadata @st at host path @host? The path was told by another call:
 * another thread may have changed what it speaks of, and "NAME (deleted)" may be a name, too. */
static bool
is_at(const char *host, const struct stat *st)
{
    struct stat found;

    return !sys4(SYS_newfstatat, AT_FDCWD, host, &found, AT_SYMLINK_NOFOLLOW) &&
           found.st_ino == st->st_ino && found.st_dev == st->st_dev;
}

/* What of the layers shows in the directory @ctr, whose host path is @host. It is remembered, if
 * it is the one with the metadata @st; of one that is not the union's, just that. */
static OWN_FRAME void
find_and_remember(const char *host, const char *ctr, const struct stat *st, uint64_t moves,
                  bool *lower, uint32_t *node)
{
    const struct uufs *fs = &engine.fs;
    bool upper = uufs_below_upper(fs, host);
    struct uufs_hit hit;

    *lower = uufs_host_is_lower(fs, host);
    if (!*lower && !upper) {
        if (moves && is_at(host, st))
            dircache_put(st->st_dev, st->st_ino, moves, "", VIEW_NONE);
        return;
    }
    if (uufs_walk(fs, "/", ctr, 0, &hit) || !hit.in_union)
        return;
    *node = hit.node;
    if ((*lower || (moves && hit.where == UUFS_UPPER)) && is_at(host, st))
        dircache_put(st->st_dev, st->st_ino, *lower ? 0 : moves, ctr, *node);
}

int
call_fd_place(int fd, const struct stat *st, char *ctr, size_t cap, bool *lower, uint32_t *node)
{
    char host[LPMX_PATH_MAX];
    struct known_directory known;
    uint64_t moves = uufs_moves(&engine.fs);
    bool directory = S_ISDIR(st->st_mode);
    int err;
    long n;

    *lower = false;
    *node = VIEW_NONE;
    if (directory && dircache_find(st->st_dev, st->st_ino, &known) && known.len < cap) {
        memcpy(ctr, known.ctr, known.len + 1);
        *lower = !known.moves;
        *node = known.node;
        return 0;
    }
    n = read_fd_link(fd, host, sizeof(host));
    if (n < 0)
        return n == -ENOENT ? -EBADF : (int)n;
    if (host[0] != '/')
        return -ENOTDIR;
    err = uufs_from_host(&engine.fs, host, ctr, cap);
    if (err || !directory)
        *lower = uufs_host_is_lower(&engine.fs, host);
    else if (is_deleted(host, (size_t)n) && !is_at(host, st))
        err = -ENOENT;
    else
        find_and_remember(host, ctr, st, moves, lower, node);
    return err;
}

int
call_fd_path(int fd, char *ctr, size_t cap, bool *lower)
{
    struct stat st;
    uint32_t node;

    *lower = false;
    return sys2(SYS_fstat, fd, &st) ? -EBADF : call_fd_place(fd, &st, ctr, cap, lower, &node);
}

int
call_base(int dirfd, char *ctr, size_t cap)
{
    char host[LPMX_PATH_MAX];
    struct known_directory known;
    struct stat st;
    uint64_t moves = uufs_moves(&engine.fs);
    uint32_t node;
    bool lower;
    int err;
    long n;

    if (dirfd != AT_FDCWD)
        return call_fd_path(dirfd, ctr, cap, &lower);
    n = sys4(SYS_newfstatat, AT_FDCWD, "", &st, AT_EMPTY_PATH);
    if (n)
        return (int)n;
    if (dircache_find(st.st_dev, st.st_ino, &known) && known.len < cap) {
        memcpy(ctr, known.ctr, known.len + 1);
        return 0;
    }
    n = sys2(SYS_getcwd, host, sizeof(host));
    if (n < 0)
        return (int)n;
    err = uufs_from_host(&engine.fs, host, ctr, cap);
    if (!err)
        find_and_remember(host, ctr, &st, moves, &lower, &node);
    return err;
}

/* @path without the "." that it begins with: "" when it names the directory it starts from. */
static const char *
skip_dots(const char *path)
{
    while (*path == '/' || (*path == '.' && (path[1] == '/' || !path[1])))
        path++;
    return path;
}

/* @rest of a path, from the parent of the removed directory at host path @host. */
COLD static int
walk_parent(char *host, size_t len, const char *rest, unsigned how, struct uufs_hit *hit)
{
    char base[LPMX_PATH_MAX];

    if (is_deleted(host, len))
        len -= sizeof(deleted) - 1;
    while (len && host[len - 1] != '/')
        len--;
    host[len > 1 ? len - 1 : len] = '\0';
    if (!len || uufs_from_host(&engine.fs, host, base, sizeof(base)))
        return -ENOENT;
    rest = skip_dots(rest);
    return uufs_walk(&engine.fs, base, *rest ? rest : ".", how, hit);
}

/* The directory that @dirfd means was removed and has no name any more, but it can still be looked
 * at: the kernel does it by the descriptor. One of a layer must not be changed by it. */
COLD static int
walk_removed(int dirfd, const char *path, unsigned how, struct uufs_hit *hit)
{
    char target[LPMX_PATH_MAX];
    struct stat st;
    size_t len = 14;
    long n;

    if (dirfd == AT_FDCWD)
        memcpy(hit->host, "/proc/self/cwd", len + 1);
    else
        len = proc_link_fd(dirfd, hit->host);
    n = sys4(SYS_readlinkat, AT_FDCWD, hit->host, target, sizeof(target) - 1);
    if (n < 0)
        return -ENOENT;
    target[n] = '\0';
    if (path[0] == '.' && path[1] == '.' && (path[2] == '/' || !path[2]))
        return walk_parent(target, (size_t)n, path + 2, how, hit);
    if (*path)
        return -ENOENT;
    if (sys4(SYS_newfstatat, AT_FDCWD, hit->host, &st, 0) || !S_ISDIR(st.st_mode))
        return -ENOENT;
    memcpy(hit->host + len, "/.", 3);
    hit->host_len = (uint32_t)len + 2;
    memcpy(hit->ctr, hit->host, hit->host_len + 1);
    hit->ctr_len = hit->host_len;
    hit->where = UUFS_BIND;
    hit->bind = -1;
    hit->node = VIEW_NONE;
    hit->type = S_IFDIR;
    hit->lower_name = hit->in_union = hit->must_be_dir = hit->magic = false;
    hit->read_only = uufs_host_is_lower(&engine.fs, target);
    return 0;
}

int
call_walk(int dirfd, unsigned long user_path, unsigned how, struct uufs_hit *hit)
{
    char path[LPMX_PATH_MAX], base[LPMX_PATH_MAX];
    int err = user_string(path, sizeof(path), user_path);
    bool outside;

    if (err)
        return err;
    how |= permission_how();
    base[0] = '\0';
    if ((path[0] != '/' || how & UUFS_IN_ROOT) && path[0] != '\0') {
        err = call_base(dirfd, base, sizeof(base));
        if (!err)
            err = uufs_walk(&engine.fs, base, path, how, hit);
        if (how & UUFS_RESOLVE)
            return err;
        if (err == -ENAMETOOLONG)
            return longpath_walk(dirfd, path, how, hit);
        if (err != -ENOENT || path[0] != '.' || (base[0] && !root_show(base, &outside)[1]))
            return err; /* nothing is above a root */
        return walk_removed(dirfd, skip_dots(path), how, hit);
    }
    return uufs_walk(&engine.fs, base, path, how, hit);
}

COLD int
call_last_is_dots(unsigned long user_path)
{
    char path[LPMX_PATH_MAX];
    int err = user_string(path, sizeof(path), user_path);
    size_t n;

    if (err)
        return err;
    n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    if (n == 1 && path[0] == '/')
        return 3;
    if (!n || path[n - 1] != '.')
        return 0;
    if (n == 1 || path[n - 2] == '/')
        return 1;
    return path[n - 2] == '.' && (n == 2 || path[n - 3] == '/') ? 2 : 0;
}

int
call_resolve(const struct call *c, struct uufs_hit *hit)
{
    return call_walk(call_dirfd(c), c->a[c->row->path], call_how(c), hit);
}

int
call_leave_magic(struct uufs_hit *hit)
{
    int err = uufs_leave_magic(&engine.fs, hit);

    return err == -ENOENT ? -EROFS : err;
}

int
call_make_writable(struct uufs_hit *hit, enum uufs_copy_how how)
{
    if (hit->read_only)
        return -EROFS;
    if (!hit->in_union || hit->where != UUFS_LOWER)
        return 0;
    return uufs_copy_up(&engine.fs, hit, how);
}

int
call_path_empty(const struct call *c)
{
    char first;
    int err = user_copy(&first, c->a[c->row->path], 1);

    return err ? err : !first;
}
