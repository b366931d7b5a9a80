/* Names made, removed and moved: mkdir, mknod, symlink, link, unlink, rmdir, rename and their *at
 * forms. */
#include "../../uufs/change/create.h"
#include "../../uufs/change/link.h"
#include "../../uufs/change/remove.h"
#include "../../uufs/change/rename.h"
#include "../../uufs/proclink.h"
#include "../../uufs/walk/walk.h"
#include "../fakeroot/cred.h"
#include "../fakeroot/device.h"
#include "../fakeroot/ownership.h"
#include "../fakeroot/permission.h"
#include "../paths/resolve.h"
#include "../program/usermem.h"

#include <linux/fs.h>
#include <sys/stat.h>

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
    err = permission_to_make(hit);
    if (err)
        return err;
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
    if (!hit.in_union)
        return sys3(SYS_mkdirat, AT_FDCWD, hit.host, mode);
    if (!emulates_root())
        return uufs_mkdir(&engine.fs, &hit, (unsigned)mode);
    err = uufs_mkdir(&engine.fs, &hit, (unsigned)ownership_new_mode(mode, true));
    hit.type = S_IFDIR;
    return err ? err : ownership_created(&hit, mode);
}

long
call_mknod(struct call *c)
{
    struct uufs_hit hit;
    unsigned long mode = c->a[c->row->path + 1], device = c->a[c->row->path + 2];
    bool emulates;
    int err = place(c, &hit, false);

    if (err)
        return err;
    emulates = emulates_root() && hit.in_union;
    if (emulates && (S_ISCHR(mode) || S_ISBLK(mode)))
        return device_make(&hit, mode, device);
    err = (int)sys4(SYS_mknodat, AT_FDCWD, hit.host,
                    emulates ? ownership_new_mode(mode, false) : mode, device);
    return err || !emulates ? err : ownership_created(&hit, mode);
}

long
call_symlink(struct call *c)
{
    struct uufs_hit hit;
    char first;
    int err = user_copy(&first, c->a[0], 1);

    if (!err)
        err = first ? place(c, &hit, false) : -ENOENT;
    if (!err)
        err = (int)sys3(SYS_symlinkat, c->a[0], AT_FDCWD, hit.host);
    return err || !emulates_root() || !hit.in_union ? err : ownership_created(&hit, 0777);
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
    int err = victim(dirfd, path, &hit), dots = directory ? call_last_is_dots(path) : 0;

    if (err)
        return err;
    if (dots)
        return dots < 0 ? dots : dots == 1 ? -EINVAL : dots == 2 ? -ENOTEMPTY : -EBUSY;
    if (!hit.in_union)
        return hit.bind >= 0 && hit.ctr_len == engine.fs.binds[hit.bind].dst_len
                   ? -EBUSY
                   : sys3(SYS_unlinkat, AT_FDCWD, hit.host, directory ? AT_REMOVEDIR : 0);
    if (hit.ctr_len == 1)
        return directory ? -EBUSY : -EISDIR;
    err = permission_to_remove(&hit);
    if (err)
        return err;
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

/* No name of a folder can be moved by its "." or "..". */
static int
refuse_dots(unsigned long from_path, unsigned long to_path, unsigned flags)
{
    int from = call_last_is_dots(from_path), to = call_last_is_dots(to_path);

    if (from)
        return from < 0 ? from : -EBUSY;
    if (to)
        return to < 0 ? to : flags & RENAME_NOREPLACE ? -EEXIST : -EBUSY;
    return 0;
}

static int
may_rename(const struct uufs_hit *from, const struct uufs_hit *to, unsigned flags)
{
    int err = permission_to_remove(from);

    if (!err)
        err = to->where == UUFS_ABSENT ? permission_to_make(to) : permission_to_remove(to);
    if (!err)
        err = permission_to_move(from, to);
    return err || !(flags & RENAME_EXCHANGE) ? err : permission_to_move(to, from);
}

long
call_rename(struct call *c)
{
    bool plain = c->row->nr == SYS_rename;
    int from_fd = plain ? AT_FDCWD : (int)c->a[0], to_fd = plain ? AT_FDCWD : (int)c->a[2];
    unsigned long from_path = plain ? c->a[0] : c->a[1], to_path = plain ? c->a[1] : c->a[3];
    unsigned flags = c->row->nr == SYS_renameat2 ? (unsigned)c->a[4] : 0;
    struct uufs_hit from, to;
    int err = uufs_rename_flags(flags);

    /* both parents are resolved before anything is judged */
    if (!err)
        err = call_walk(from_fd, from_path, UUFS_LAST | UUFS_MISSING, &from);
    if (!err)
        err = call_walk(to_fd, to_path, UUFS_LAST | UUFS_MISSING, &to);
    if (!err)
        err = refuse_dots(from_path, to_path, flags);
    if (err)
        return err;
    if (from.where == UUFS_ABSENT)
        return -ENOENT;
    if (from.read_only || to.read_only)
        return -EROFS;
    err = may_rename(&from, &to, flags);
    if (err)
        return err;
    return uufs_rename(&engine.fs, &from, &to, flags);
}

/* An emulated root, which the kernel would not let. */
static bool
may_link_descriptors(void)
{
    return emulates_root() && cred_has(cred_now(), CRED_CAP_DAC_READ_SEARCH);
}

/* A descriptor's file under a new name: what O_TMPFILE is for. A lower file's is its name's, which
 * is copied up: no inode of a layer gets a name in the upper. */
static long
link_descriptor(const struct call *c, struct uufs_hit *to)
{
    char ctr[LPMX_PATH_MAX], link[PROC_LINK_SIZE];
    struct uufs_hit from;
    bool lower = false;
    int err = call_fd_path((int)c->a[0], ctr, sizeof(ctr), &lower);

    if (lower && !err)
        err = uufs_walk(&engine.fs, "/", ctr, 0, &from);
    if (lower && !err && from.where != UUFS_LOWER && from.type != S_IFDIR)
        err = -ENOENT; /* the name may mean another file by now */
    if (lower)
        return err ? err : uufs_link(&engine.fs, &from, to);
    err = to->in_union ? uufs_prepare_create(&engine.fs, to) : 0;
    if (err)
        return err;
    if (!may_link_descriptors())
        return sys5(SYS_linkat, c->a[0], "", AT_FDCWD, to->host, AT_EMPTY_PATH);
    if ((int)c->a[0] == AT_FDCWD)
        return -EPERM; /* a directory */
    proc_link_fd((int)c->a[0], link);
    return sys5(SYS_linkat, AT_FDCWD, link, AT_FDCWD, to->host, AT_SYMLINK_FOLLOW);
}

/* Is there a descriptor to be linked, and what is it? 1: it is the source; 0: a path is; or -errno.
 */
static int
links_descriptor(const struct call *c)
{
    char first;
    int err;

    if (c->row->nr == SYS_link || !(c->a[4] & AT_EMPTY_PATH))
        return 0;
    err = user_copy(&first, c->a[1], 1);
    if (err || first == '/' || (int)c->a[0] == AT_FDCWD)
        return err ? err : !first;
    /* may we? the kernel looks at the descriptor first, and "/" is there already */
    err = (int)sys5(SYS_linkat, c->a[0], "", AT_FDCWD, "/", AT_EMPTY_PATH);
    if (err == -ENOENT && may_link_descriptors())
        err = -EEXIST;
    return err == -EEXIST ? !first : err;
}

long
call_link(struct call *c)
{
    bool plain = c->row->nr == SYS_link;
    int from_fd = plain ? AT_FDCWD : (int)c->a[0], to_fd = plain ? AT_FDCWD : (int)c->a[2];
    unsigned long from_path = plain ? c->a[0] : c->a[1], to_path = plain ? c->a[1] : c->a[3];
    unsigned long flags = plain ? 0 : c->a[4];
    struct uufs_hit from, to;
    struct stat st;
    int descriptor = links_descriptor(c), err = descriptor < 0 ? descriptor : 0;

    if (flags & ~(unsigned long)(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    if (!descriptor)
        err = call_walk(from_fd, from_path, flags & AT_SYMLINK_FOLLOW ? UUFS_FOLLOW : 0, &from);
    if (!err && !descriptor && !from.in_union)
        err = (int)sys4(SYS_newfstatat, AT_FDCWD, from.host, &st, AT_SYMLINK_NOFOLLOW);
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
    if (!descriptor && from.magic && !(flags & AT_SYMLINK_FOLLOW))
        return -EXDEV; /* the link itself, which is in /proc */
    err = descriptor ? 0 : permission_to_link(&from);
    if (!err)
        err = permission_to_make(&to);
    if (err)
        return err;
    return descriptor ? link_descriptor(c, &to) : uufs_link(&engine.fs, &from, &to);
}
