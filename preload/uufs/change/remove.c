/* Names removed: unlink and rmdir.
 *
 * What only the upper has is removed there. Where a lower name would show instead, its whiteout is
 * made first: the upper's name wins over it, so there is no moment at which the lower one is seen.
 */
#include "remove.h"

#include "../dirty.h"
#include "../hostfd.h"
#include "../list/listing.h"
#include "../list/readdir.h"
#include "../lock.h"
#include "../path.h"
#include "../upper.h"
#include "../walk/hit.h"
#include "../whiteout.h"
#include "copyup.h"
#include "extra.h"

#include <sys/stat.h>

#define ENTRIES_SIZE 4096
#define SWEEP_MAX    1024 /* marks of a removed directory that are deleted at once */

static int
in_bind(const struct uufs *fs, const struct uufs_hit *hit, int flags)
{
    if (hit->read_only)
        return -EROFS;
    if (hit_is_mount(fs, hit))
        return -EBUSY;
    return (int)sys3(SYS_unlinkat, AT_FDCWD, hit->host, flags);
}

static bool
is_watched(const struct uufs *fs, const struct uufs_hit *hit)
{
    size_t len = path_parent(hit->ctr, hit->ctr_len);

    return uufs_watched_test(fs, hit->ctr, len ? len : 1);
}

/* Whoever watches its directory is told of the end of a name that the upper has. */
static void
come_up_to_go(const struct uufs *fs, struct uufs_hit *hit)
{
    const struct view_node *n = view_node(&fs->view, hit->node);

    if (hit->where == UUFS_LOWER && is_watched(fs, hit) &&
        (!n || !S_ISREG(n->mode) || n->size <= WATCH_COPIES_MAX))
        uufs_copy_up(fs, hit, UUFS_COPY_DATA);
}

/* ---- unlink ---- */

/* *@no_parent: the whiteout's directory is not in the upper yet. */
static OWN_FRAME int
unlink_locked(const struct uufs *fs, struct uufs_hit *hit, bool *no_parent)
{
    struct uufs_hit now;
    int err = hit_now(fs, hit, &now);

    *no_parent = false;
    if (err)
        return err;
    if (now.where == UUFS_ABSENT)
        return -ENOENT;
    if (now.type == S_IFDIR)
        return -EISDIR;
    err = whiteout_make(fs, hit->ctr, hit->ctr_len);
    *no_parent = err == -ENOENT;
    if (err || now.where == UUFS_LOWER)
        return err;
    extra_forget(fs, now.host);
    return (int)sys3(SYS_unlinkat, AT_FDCWD, now.host, 0);
}

/* Of many names of one directory only the first finds it missing in the upper: so the others do not
 * look for it. */
static int
unlink_lower(const struct uufs *fs, struct uufs_hit *hit)
{
    bool no_parent;

    for (int tries = 0;; tries++) {
        int lock = uufs_lock(fs), err;

        if (lock < 0)
            return lock;
        err = unlink_locked(fs, hit, &no_parent);
        uufs_unlock(lock);
        if (!no_parent || tries)
            return err;
        err = uufs_make_parents(fs, hit->ctr, hit->ctr_len);
        if (err)
            return err;
    }
}

int
uufs_unlink(const struct uufs *fs, struct uufs_hit *hit)
{
    if (hit->where == UUFS_ABSENT)
        return -ENOENT;
    if (!hit->in_union)
        return in_bind(fs, hit, 0);
    if (hit->read_only)
        return -EROFS;
    if (hit->type == S_IFDIR)
        return -EISDIR;
    if (hit->must_be_dir)
        return -ENOTDIR;
    if (!hit_needs_whiteout(fs, hit)) {
        extra_forget(fs, hit->host);
        return (int)sys3(SYS_unlinkat, AT_FDCWD, hit->host, 0);
    }
    come_up_to_go(fs, hit);
    return unlink_lower(fs, hit);
}

/* ---- the remains of a directory: marks and whiteouts ---- */

/* Remove every mark from the directory @fd in WORK. -ENOTEMPTY at a name that is none: with @dry
 * that is all it does. How many there are, or -errno. */
static OWN_FRAME int
sweep_marks(int fd, bool dry)
{
    uint64_t buf[ENTRIES_SIZE / 8];
    int marks = 0;
    long n;

    while ((n = sys3(SYS_getdents64, fd, buf, sizeof(buf))) > 0) {
        for (long at = 0; at < n;) {
            const struct dir_entry *e = (const struct dir_entry *)((const char *)buf + at);

            at += e->reclen;
            if (name_is_dots(e->name))
                continue;
            if (!whiteout_is(e->name, strlen(e->name)))
                return -ENOTEMPTY;
            marks++;
            if (!dry)
                sys3(SYS_unlinkat, fd, e->name, 0);
        }
    }
    return n < 0 ? (int)n : marks;
}

/* The directory @temp has left the tree; if it got a name at the last moment it must go back. Many
 * marks are left there for gc: one by one they would cost another half of what making them did. */
static int
empty_temp_dir(const char *temp)
{
    int fd = hostfd_open(temp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0), marks, err;

    if (fd < 0)
        return fd;
    marks = sweep_marks(fd, true);
    err = marks < 0 ? marks : 0;
    /* deleting may confuse the file system's cursor: begin again until a pass finds nothing left to
     * delete */
    for (int pass = 0; !err && marks <= SWEEP_MAX && pass < 64; pass++) {
        sys3(SYS_lseek, fd, 0, SEEK_SET);
        sweep_marks(fd, false);
        if (!sys3(SYS_unlinkat, AT_FDCWD, temp, AT_REMOVEDIR))
            break;
    }
    sys1(SYS_close, fd);
    return err;
}

OWN_FRAME int
upper_discard_dir(const struct uufs *fs, const char *host)
{
    char temp[LPMX_PATH_MAX];
    uint32_t mode = 0;
    int r = upper_exists(host, &mode), err;

    if (r <= 0)
        return r ? r : -ENOENT;
    /* a directory that is not writable itself cannot be moved to another parent, though rmdir would
     * take it */
    if ((mode & 0700) != 0700)
        sys3(SYS_fchmodat, AT_FDCWD, host, (mode & 07777) | 0700);
    err = upper_temp(fs, temp);
    if (!err) {
        uufs_moves_add(fs);
        err = (int)sys4(SYS_renameat, AT_FDCWD, host, AT_FDCWD, temp);
    }
    if (!err) {
        uufs_moves_add(fs);
        err = empty_temp_dir(temp);
        if (err)
            upper_publish(temp, host, true);
    }
    if (err && (mode & 0700) != 0700)
        sys3(SYS_fchmodat, AT_FDCWD, host, mode & 07777);
    return err;
}

/* ---- rmdir ---- */

static int
rmdir_upper_only(const struct uufs *fs, struct uufs_hit *hit)
{
    int empty, lock;
    long r;

    uufs_moves_add(fs);
    r = sys3(SYS_unlinkat, AT_FDCWD, hit->host, AT_REMOVEDIR);
    if (!r)
        uufs_moves_add(fs);
    if (r != -ENOTEMPTY && r != -EEXIST)
        return (int)r;
    empty = uufs_is_empty(fs, hit->ctr, hit->ctr_len, VIEW_NONE);
    if (empty <= 0)
        return empty ? empty : -ENOTEMPTY;
    lock = uufs_lock(fs);
    if (lock < 0)
        return lock;
    r = upper_discard_dir(fs, hit->host);
    uufs_unlock(lock);
    return (int)r;
}

/* In its place, if there is no mark in it, so that it is told to have been removed, not moved. */
static int
remove_watched_dir(const struct uufs *fs, const char *host)
{
    long r;

    uufs_moves_add(fs);
    r = sys3(SYS_unlinkat, AT_FDCWD, host, AT_REMOVEDIR);
    if (r)
        return upper_discard_dir(fs, host);
    uufs_moves_add(fs);
    return 0;
}

static OWN_FRAME int
rmdir_locked(const struct uufs *fs, struct uufs_hit *hit)
{
    struct uufs_hit now;
    int r = hit_now(fs, hit, &now);

    if (r)
        return r;
    if (now.where == UUFS_ABSENT)
        return -ENOENT;
    if (now.type != S_IFDIR)
        return -ENOTDIR;
    r = uufs_is_empty(fs, hit->ctr, hit->ctr_len, now.node);
    if (r <= 0)
        return r ? r : -ENOTEMPTY;
    r = whiteout_make(fs, hit->ctr, hit->ctr_len);
    if (r || now.where == UUFS_LOWER)
        return r;
    return is_watched(fs, hit) ? remove_watched_dir(fs, now.host) : upper_discard_dir(fs, now.host);
}

int
uufs_rmdir(const struct uufs *fs, struct uufs_hit *hit)
{
    int lock, err;

    if (hit->where == UUFS_ABSENT)
        return -ENOENT;
    if (!hit->in_union)
        return in_bind(fs, hit, AT_REMOVEDIR);
    if (hit->read_only)
        return -EROFS;
    if (hit->ctr_len <= 1)
        return -EBUSY;
    if (hit->type != S_IFDIR)
        return -ENOTDIR;
    if (bind_below(fs, hit->ctr, hit->ctr_len))
        return -ENOTEMPTY;
    if (!hit_needs_whiteout(fs, hit))
        return rmdir_upper_only(fs, hit);
    err = uufs_make_parents(fs, hit->ctr, hit->ctr_len);
    if (err)
        return err;
    come_up_to_go(fs, hit);
    lock = uufs_lock(fs);
    if (lock < 0)
        return lock;
    err = rmdir_locked(fs, hit);
    uufs_unlock(lock);
    return err;
}
