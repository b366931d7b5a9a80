/* stat, statx, access, readlink: for lower files answered from the view, where that is what the
 * disk would say. */
#include "../../base/libc.h"
#include "../../uufs/walk/fromhost.h"
#include "../../uufs/walk/hit.h"
#include "../fakeroot/cred.h"
#include "../fakeroot/ownership.h"
#include "../identity/identity.h"
#include "../paths/resolve.h"
#include "../proc/files.h"
#include "../program/perform.h"
#include "../program/root.h"
#include "../program/usermem.h"
#include "inode.h"
#include "lower.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

/* The node of a lower hit whose recorded metadata may be shown, or NULL. */
static const struct view_node *
trusted_node(const struct uufs_hit *hit, uint64_t *device)
{
    const struct view_node *n =
        hit->where == UUFS_LOWER ? view_node(&engine.fs.view, hit->node) : NULL;

    return n && lower_device(n->layer, device) ? n : NULL;
}

/* Below a bind the walk has followed what was to be followed, but /proc's own symlinks are the
 * kernel's. */
static unsigned
host_flags(const struct uufs_hit *hit, unsigned how)
{
    return !hit->in_union && (how & UUFS_FOLLOW) ? 0 : AT_SYMLINK_NOFOLLOW;
}

/* What the program is to see of @hit, or of the descriptor @fd without one. */
HOT_TEXT static void
show(const struct uufs_hit *hit, int fd, struct stat *st)
{
    if (hit) {
        identity_show(hit, st);
        inode_show(hit, st);
    } else {
        identity_show_fd(fd, st);
    }
    if (inode_has_copies)
        inode_show_copy(st);
}

/* A magic link to a layer's directory that was copied up since means the merged one. */
static OWN_FRAME void
leave_for_merged(struct uufs_hit *hit)
{
    struct uufs_hit named = *hit;

    if (!uufs_leave_magic(&engine.fs, &named) && !named.magic && named.where == UUFS_UPPER &&
        named.type == S_IFDIR && named.node != VIEW_NONE)
        *hit = named;
}

static int
find_to_look_at(int dirfd, unsigned long path, unsigned how, struct uufs_hit *hit)
{
    int err = call_walk(dirfd, path, how, hit);

    if (!err && hit->magic && how & UUFS_FOLLOW)
        leave_for_merged(hit);
    return err;
}

/* A descriptor that calls/proc/files.c has made is shown as the file that it stands for: @link
 * names it, or @fd is it. */
static OWN_FRAME void
show_procfile(const char *link, int fd, struct stat *st)
{
    char path[LPMX_PATH_MAX];

    if (!(link ? procfile_named(link, path, sizeof(path))
               : procfile_behind(fd, path, sizeof(path))))
        return;
    if (!sys4(SYS_newfstatat, AT_FDCWD, path, st, 0))
        return;
    st->st_mode &= ~(uint32_t)S_ISVTX; /* the process has ended */
    st->st_size = st->st_blocks = 0;
}

HOT_TEXT static long
stat_at(int dirfd, unsigned long path, unsigned how, unsigned long buf)
{
    struct uufs_hit hit;
    struct stat st;
    uint64_t device;
    const struct view_node *n;
    long err = find_to_look_at(dirfd, path, how, &hit);

    if (err)
        return err;
    n = trusted_node(&hit, &device);
    if (n)
        lower_stat(n, device, &st);
    else
        err = sys4(SYS_newfstatat, AT_FDCWD, hit.host, &st, host_flags(&hit, how));
    if (err)
        return err;
    if (hit.magic && st.st_mode == PROCFILE_MODE)
        show_procfile(hit.host, -1, &st);
    show(&hit, -1, &st);
    return user_put(buf, &st, sizeof(st));
}

HOT_TEXT long
call_stat(struct call *c)
{
    return stat_at(AT_FDCWD, c->a[0], UUFS_FOLLOW, c->a[1]);
}

HOT_TEXT long
call_lstat(struct call *c)
{
    return stat_at(AT_FDCWD, c->a[0], 0, c->a[1]);
}

/* A descriptor's own metadata (fstat, or an empty path). */
HOT_TEXT static OWN_FRAME long
stat_descriptor(int fd, unsigned long buf)
{
    struct uufs_hit merged, *hit = NULL;
    struct stat st;
    long err = fd == AT_FDCWD ? sys4(SYS_newfstatat, fd, "", &st, AT_EMPTY_PATH)
                              : sys2(SYS_fstat, fd, &st);

    if (!err && inode_merged(fd, &st, &merged)) {
        hit = &merged;
        err = sys4(SYS_newfstatat, AT_FDCWD, merged.host, &st, AT_SYMLINK_NOFOLLOW);
    }
    if (err)
        return err;
    if (st.st_mode == PROCFILE_MODE)
        show_procfile(NULL, fd, &st);
    show(hit, fd, &st);
    return user_put(buf, &st, sizeof(st));
}

HOT_TEXT long
call_newfstatat(struct call *c)
{
    if (c->a[3] & AT_EMPTY_PATH) {
        int empty =
            c->a[1] ? call_path_empty(c) : 1; /* since Linux 6.11 a NULL path counts as empty */

        if (empty < 0)
            return empty;
        if (empty)
            return stat_descriptor((int)c->a[0], c->a[2]);
    }
    return stat_at((int)c->a[0], c->a[1], call_how(c), c->a[2]);
}

HOT_TEXT long
call_fstat(struct call *c)
{
    return (int)c->a[0] < 0 ? -EBADF : stat_descriptor((int)c->a[0], c->a[1]);
}

static void
statx_from_node(const struct view_node *n, uint64_t device, struct statx *sx)
{
    memset(sx, 0, sizeof(*sx));
    sx->stx_mask = STATX_BASIC_STATS;
    sx->stx_blksize = 4096;
    sx->stx_nlink = n->nlink;
    sx->stx_uid = n->uid;
    sx->stx_gid = n->gid;
    sx->stx_mode = (uint16_t)n->mode;
    sx->stx_ino = n->ino;
    sx->stx_size = n->size;
    sx->stx_blocks = n->blocks;
    sx->stx_atime.tv_sec = sx->stx_mtime.tv_sec = n->mtime;
    sx->stx_atime.tv_nsec = sx->stx_mtime.tv_nsec = n->mtime_ns;
    sx->stx_ctime.tv_sec = n->ctime;
    sx->stx_ctime.tv_nsec = n->ctime_ns;
    sx->stx_dev_major = gnu_dev_major(device);
    sx->stx_dev_minor = gnu_dev_minor(device);
}

static void
show_statx(const struct uufs_hit *hit, int fd, struct statx *sx)
{
    struct stat st = {.st_uid = sx->stx_uid,
                      .st_gid = sx->stx_gid,
                      .st_mode = sx->stx_mode,
                      .st_dev = gnu_dev_makedev(sx->stx_dev_major, sx->stx_dev_minor),
                      .st_ino = sx->stx_ino,
                      .st_nlink = sx->stx_nlink};

    st.st_rdev = gnu_dev_makedev(sx->stx_rdev_major, sx->stx_rdev_minor);
    show(hit, fd, &st);
    sx->stx_dev_major = gnu_dev_major(st.st_dev);
    sx->stx_dev_minor = gnu_dev_minor(st.st_dev);
    sx->stx_ino = st.st_ino;
    sx->stx_nlink = (uint32_t)st.st_nlink;
    sx->stx_uid = st.st_uid;
    sx->stx_gid = st.st_gid;
    sx->stx_mode = (uint16_t)st.st_mode;
    sx->stx_rdev_major = gnu_dev_major(st.st_rdev);
    sx->stx_rdev_minor = gnu_dev_minor(st.st_rdev);
}

/* As show_procfile. */
static OWN_FRAME long
statx_procfile(const struct call *c, struct statx *sx)
{
    char path[LPMX_PATH_MAX];

    if (!procfile_behind((int)c->a[0], path, sizeof(path)))
        return 0;
    if (!sys5(SYS_statx, AT_FDCWD, path, c->a[2] & ~(unsigned long)AT_EMPTY_PATH, c->a[3], sx))
        return 0;
    sx->stx_mode &= (uint16_t)~S_ISVTX;
    sx->stx_size = sx->stx_blocks = 0;
    return 0;
}

/* As stat_descriptor. */
static OWN_FRAME long
statx_descriptor(const struct call *c, struct statx *sx)
{
    int fd = (int)c->a[0];
    struct uufs_hit merged, *hit = NULL;
    struct stat st;
    long err = sys5(SYS_statx, fd, "", c->a[2], c->a[3], sx);

    if (!err && S_ISDIR(sx->stx_mode) && !sys4(SYS_newfstatat, fd, "", &st, AT_EMPTY_PATH) &&
        inode_merged(fd, &st, &merged)) {
        hit = &merged;
        err = sys5(SYS_statx, AT_FDCWD, merged.host,
                   (c->a[2] & ~(unsigned long)AT_EMPTY_PATH) | AT_SYMLINK_NOFOLLOW, c->a[3], sx);
    }
    if (!err && sx->stx_mode == PROCFILE_MODE)
        err = statx_procfile(c, sx);
    if (!err)
        show_statx(hit, fd, sx);
    return err;
}

static OWN_FRAME long
statx_path(const struct call *c, struct statx *sx)
{
    struct uufs_hit hit;
    unsigned how = call_how(c);
    uint64_t device;
    const struct view_node *n;
    long err = find_to_look_at((int)c->a[0], c->a[1], how, &hit);

    if (err)
        return err;
    n = trusted_node(&hit, &device);
    if (n)
        statx_from_node(n, device, sx);
    else
        err = sys5(SYS_statx, AT_FDCWD, hit.host,
                   (c->a[2] & ~(unsigned long)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) |
                       host_flags(&hit, how),
                   c->a[3], sx);
    if (!err)
        show_statx(&hit, -1, sx);
    return err;
}

long
call_statx(struct call *c)
{
    struct statx sx;
    int empty = 0;
    long err;

    if (c->a[2] & AT_EMPTY_PATH)
        empty = c->a[1] ? call_path_empty(c) : 1;
    if (empty < 0)
        return empty;
    err = empty ? statx_descriptor(c, &sx) : statx_path(c, &sx);
    return err ? err : user_put(c->a[4], &sx, sizeof(sx));
}

HOT_TEXT static long
access_at(int dirfd, unsigned long path, unsigned how, unsigned long mode, unsigned long flags)
{
    struct uufs_hit hit;
    const struct view_node *n;
    long err = call_walk(dirfd, path, how, &hit);

    if (err)
        return err;
    if (mode & ~7UL)
        return -EINVAL;
    if (emulates_root() && hit.in_union) {
        if ((mode & 2) && hit.read_only && hit.type != S_IFLNK)
            return -EROFS;
        return ownership_access(&hit, (unsigned)mode, flags & AT_EACCESS);
    }
    n = hit.where == UUFS_LOWER ? view_node(&engine.fs.view, hit.node) : NULL;
    if (n && hit.type != S_IFLNK) {
        err = lower_access(n, hit.read_only, (unsigned)mode);
        if (err <= 0)
            return err;
    }
    if ((mode & 2) && hit.read_only &&
        (hit.type == S_IFREG || hit.type == S_IFDIR || !hit.in_union))
        return -EROFS;
    if (!flags)
        return sys3(SYS_faccessat, AT_FDCWD, hit.host, mode);
    return sys4(SYS_faccessat2, AT_FDCWD, hit.host, mode,
                (flags & ~(unsigned long)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) |
                    host_flags(&hit, how));
}

HOT_TEXT long
call_access(struct call *c)
{
    return access_at(AT_FDCWD, c->a[0], UUFS_FOLLOW, c->a[1], 0);
}

HOT_TEXT long
call_faccessat(struct call *c)
{
    return access_at((int)c->a[0], c->a[1], UUFS_FOLLOW, c->a[2], 0);
}

HOT_TEXT long
call_faccessat2(struct call *c)
{
    if ((c->a[3] & AT_EMPTY_PATH) && call_path_empty(c) == 1)
        return call_raw(c);
    return access_at((int)c->a[0], c->a[1], call_how(c), c->a[2], c->a[3]);
}

/* Give @len bytes of @text as readlink does: cut to the buffer, no NUL. */
static long
put_link(unsigned long buf, long size, const char *text, size_t len)
{
    int err;

    if (size <= 0)
        return -EINVAL;
    if (len > (size_t)size)
        len = (size_t)size;
    err = user_put(buf, text, len);
    return err ? err : (long)len;
}

static long
put_path(unsigned long buf, long size, const char *ctr)
{
    bool outside;
    const char *shown = root_show(ctr, &outside);

    return put_link(buf, size, shown, strlen(shown));
}

/* A magic link of /proc: the host path it tells, as the container knows it. */
static long
read_magic(const struct uufs_hit *hit, unsigned long buf, long size)
{
    char host[LPMX_PATH_MAX], ctr[LPMX_PATH_MAX];
    long n;

    if (engine.fs.proc_exe && !engine.fs.proc_exe(hit->host, ctr, sizeof(ctr)))
        return put_path(buf, size, ctr);
    n = sys4(SYS_readlinkat, AT_FDCWD, hit->host, host, sizeof(host) - 1);
    if (n < 0)
        return n;
    host[n] = '\0';
    if (!strncmp(host, "/memfd:lpmx", 11))
        procfile_named(hit->host, host, sizeof(host));
    n = (long)strlen(hit->ctr);
    if (n > 5 && !strcmp(hit->ctr + n - 5, "/root"))
        return put_link(buf, size, "/", 1);
    if (host[0] == '/' && !uufs_from_host(&engine.fs, host, ctr, sizeof(ctr)))
        return put_path(buf, size, ctr);
    return put_link(buf, size, host, strlen(host));
}

HOT_TEXT static long
readlink_at(int dirfd, unsigned long path, unsigned long buf, long size)
{
    struct uufs_hit hit;
    const struct view_node *n;
    long err = size > 0 ? call_walk(dirfd, path, 0, &hit) : -EINVAL;

    if (err)
        return err;
    if (hit.magic)
        return read_magic(&hit, buf, size);
    n = hit.where == UUFS_LOWER ? view_node(&engine.fs.view, hit.node) : NULL;
    if (!n)
        return sys4(SYS_readlinkat, AT_FDCWD, hit.host, buf, size);
    if (!S_ISLNK(n->mode))
        return -EINVAL;
    return put_link(buf, size, view_link(&engine.fs.view, n),
                    strlen(view_link(&engine.fs.view, n)));
}

HOT_TEXT long
call_readlink(struct call *c)
{
    return readlink_at(AT_FDCWD, c->a[0], c->a[1], (int)c->a[2]);
}

HOT_TEXT long
call_readlinkat(struct call *c)
{
    int empty = call_path_empty(c);

    if (empty < 0)
        return empty;
    return empty ? call_raw(c) : readlink_at((int)c->a[0], c->a[1], c->a[2], (int)c->a[3]);
}
