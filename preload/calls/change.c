/* Names made, removed and moved: mkdir, mknod, symlink, link, unlink, rmdir, rename and their *at
 * forms. */
#include "call.h"

#include <sys/stat.h>

/* "." and ".." as the last component: rmdir and rename refuse them before anything else. */
static int
last_is_dots(unsigned long user_path)
{
    char path[LPMX_PATH_MAX];
    int err = user_string(path, sizeof(path), user_path);
    size_t n;

    if (err)
        return err;
    n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    if (!n || path[n - 1] != '.')
        return 0;
    if (n == 1 || path[n - 2] == '/')
        return 1;
    return path[n - 2] == '.' && (n == 2 || path[n - 3] == '/') ? 2 : 0;
}

/* The place for a new name: absent, not read-only, its parents in the upper. */
static int
place(const struct call *c, struct uufs_hit *hit, bool directory)
{
    int dirfd = call_dirfd(c);
    int err = call_walk(dirfd, c->a[c->row->path], UUFS_LAST | UUFS_MISSING, hit);

    if (err)
        return err;
    if (hit->where != UUFS_ABSENT)
        return -EEXIST;
    if (hit->must_be_dir && !directory)
        return -ENOENT;
    if (hit->read_only)
        return -EROFS;
    return hit->in_union && !directory ? uufs_prepare_create(&engine.fs, hit) : 0;
}

long
call_mkdir(struct call *c)
{
    struct uufs_hit hit;
    unsigned long mode = c->a[c->row->path + 1];
    int err = place(c, &hit, true);

    if (err)
        return err;
    return hit.in_union ? uufs_mkdir(&engine.fs, &hit, (unsigned)mode)
                        : sys3(SYS_mkdirat, AT_FDCWD, hit.host, mode);
}

long
call_mknod(struct call *c)
{
    struct uufs_hit hit;
    int err = place(c, &hit, false);

    if (err)
        return err;
    return sys4(SYS_mknodat, AT_FDCWD, hit.host, c->a[c->row->path + 1], c->a[c->row->path + 2]);
}

long
call_symlink(struct call *c)
{
    struct uufs_hit hit;
    int err = place(c, &hit, false);

    return err ? err : sys3(SYS_symlinkat, c->a[0], AT_FDCWD, hit.host);
}

/* What is to be removed or moved. */
static int
victim(int dirfd, unsigned long path, struct uufs_hit *hit)
{
    int err = call_walk(dirfd, path, UUFS_LAST, hit);

    return !err && hit->read_only ? -EROFS : err;
}

static long
remove_at(int dirfd, unsigned long path, bool directory)
{
    struct uufs_hit hit;
    int dots = directory ? last_is_dots(path) : 0, err;

    if (dots)
        return dots < 0 ? dots : dots == 1 ? -EINVAL : -ENOTEMPTY;
    err = victim(dirfd, path, &hit);
    if (err)
        return err;
    if (!hit.in_union)
        return hit.ctr_len == engine.fs.binds[hit.bind].dst_len
                   ? -EBUSY
                   : sys3(SYS_unlinkat, AT_FDCWD, hit.host, directory ? AT_REMOVEDIR : 0);
    if (hit.ctr_len == 1)
        return directory ? -EBUSY : -EISDIR;
    return directory ? uufs_rmdir(&engine.fs, &hit) : uufs_unlink(&engine.fs, &hit);
}

long
call_unlink(struct call *c)
{
    unsigned long flags = c->row->nr == SYS_unlinkat ? c->a[2] : 0;

    if (flags & ~(unsigned long)AT_REMOVEDIR)
        return -EINVAL;
    return remove_at(call_dirfd(c), c->a[c->row->path], flags & AT_REMOVEDIR);
}

long
call_rmdir(struct call *c)
{
    return remove_at(AT_FDCWD, c->a[0], true);
}

long
call_rename(struct call *c)
{
    bool plain = c->row->nr == SYS_rename;
    int from_fd = plain ? AT_FDCWD : (int)c->a[0], to_fd = plain ? AT_FDCWD : (int)c->a[2];
    unsigned long from_path = plain ? c->a[0] : c->a[1], to_path = plain ? c->a[1] : c->a[3];
    struct uufs_hit from, to;
    int err, dots = last_is_dots(from_path);

    if (!dots)
        dots = last_is_dots(to_path);
    if (dots)
        return dots < 0 ? dots : -EBUSY;
    /* both parents are resolved before anything is judged */
    err = call_walk(from_fd, from_path, UUFS_LAST | UUFS_MISSING, &from);
    if (!err)
        err = call_walk(to_fd, to_path, UUFS_LAST | UUFS_MISSING, &to);
    if (err)
        return err;
    if (from.where == UUFS_ABSENT)
        return -ENOENT;
    if (from.read_only || to.read_only)
        return -EROFS;
    return uufs_rename(&engine.fs, &from, &to, c->row->nr == SYS_renameat2 ? (unsigned)c->a[4] : 0);
}

/* A descriptor's file under a new name (AT_EMPTY_PATH, or /proc/self/fd/N): what O_TMPFILE is for.
 */
static long
link_descriptor(struct call *c, struct uufs_hit *to)
{
    return sys5(SYS_linkat, c->a[0], "", AT_FDCWD, to->host, AT_EMPTY_PATH);
}

long
call_link(struct call *c)
{
    bool plain = c->row->nr == SYS_link;
    int from_fd = plain ? AT_FDCWD : (int)c->a[0], to_fd = plain ? AT_FDCWD : (int)c->a[2];
    unsigned long from_path = plain ? c->a[0] : c->a[1], to_path = plain ? c->a[1] : c->a[3];
    unsigned long flags = plain ? 0 : c->a[4];
    struct uufs_hit from, to;
    bool descriptor = !plain && (flags & AT_EMPTY_PATH) && call_path_empty(c) == 1;
    int err = 0;

    if (!descriptor)
        err = call_walk(from_fd, from_path, flags & AT_SYMLINK_FOLLOW ? UUFS_FOLLOW : 0, &from);
    if (!err)
        err = call_walk(to_fd, to_path, UUFS_LAST | UUFS_MISSING, &to);
    if (err)
        return err;
    if (to.where != UUFS_ABSENT)
        return -EEXIST;
    if (to.must_be_dir)
        return -ENOENT;
    if (to.read_only)
        return -EROFS;
    if (descriptor) {
        err = to.in_union ? uufs_prepare_create(&engine.fs, &to) : 0;
        return err ? err : link_descriptor(c, &to);
    }
    return uufs_link(&engine.fs, &from, &to);
}
