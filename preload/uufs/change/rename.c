/* Names moved: renameat2 in the union.
 *
 * Decided first, on what the walk saw (rename_check: the kernel's rules in the kernel's order);
 * then prepared (copies and parents in the upper); then, where a lower name plays a part, checked
 * again and done under the lock. The move itself is one rename on the disk. The whiteout of the old
 * name is made before it, the opaque mark of a directory that lands on a lower one too; both are
 * invisible until the move. */
#include "rename.h"

#include "../../base/str.h"
#include "../dirty.h"
#include "../list/readdir.h"
#include "../lock.h"
#include "../path.h"
#include "../upper.h"
#include "../walk/hit.h"
#include "../whiteout.h"
#include "copyup.h"
#include "extra.h"
#include "remove.h"

#include <sys/stat.h>
#include <linux/fs.h>

#define MAX_TRIES 16

struct move {
    const struct uufs *fs;
    struct uufs_hit *from, *to;
    unsigned flags;
};

static bool
is_dir(const struct uufs_hit *hit)
{
    return hit->type == S_IFDIR;
}

static bool
exchanges(const struct move *m)
{
    return m->flags & RENAME_EXCHANGE;
}

/* ---- below a bind: the kernel's business ---- */

static int
keep_slash(struct uufs_hit *hit)
{
    size_t len = hit->host_len;
    int err = 0;

    if (hit->must_be_dir && len && hit->host[len - 1] != '/')
        err = str_append(hit->host, sizeof(hit->host), &len, "/", 1);
    hit->host_len = (uint32_t)len;
    return err;
}

static int
rename_host(const char *from, const char *to, unsigned flags)
{
    long r = sys5(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);

    if (r == -ENOSYS)
        r = flags ? -EINVAL : sys4(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
    return (int)r;
}

static int
rename_in_bind(const struct move *m)
{
    int err;

    if (m->from->read_only || m->to->read_only)
        return -EROFS;
    if (bind_below(m->fs, m->from->ctr, m->from->ctr_len))
        return -EBUSY;
    err = keep_slash(m->from);
    if (!err)
        err = keep_slash(m->to);
    return err ? err : rename_host(m->from->host, m->to->host, m->flags);
}

/* ---- what the kernel would say ---- */

int
uufs_rename_flags(unsigned flags)
{
    if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT))
        return -EINVAL;
    return flags & RENAME_EXCHANGE && flags != RENAME_EXCHANGE ? -EINVAL : 0;
}

static int
check_presence(const struct move *m)
{
    if (m->from->where == UUFS_ABSENT)
        return -ENOENT;
    if (m->to->where != UUFS_ABSENT)
        return m->flags & RENAME_NOREPLACE ? -EEXIST : 0;
    return exchanges(m) ? -ENOENT : 0;
}

/* A slash at the end is right for a directory only. */
static int
check_slashes(const struct move *m)
{
    bool needs_dir = m->from->must_be_dir || (m->to->must_be_dir && !exchanges(m));

    if (exchanges(m) && m->to->must_be_dir && !is_dir(m->to))
        return -ENOTDIR;
    return needs_dir && !is_dir(m->from) ? -ENOTDIR : 0;
}

static int
check_ancestry(const struct move *m)
{
    const struct uufs_hit *from = m->from, *to = m->to;

    if (path_below(to->ctr, to->ctr_len, from->ctr, from->ctr_len))
        return -EINVAL;
    if (path_below(from->ctr, from->ctr_len, to->ctr, to->ctr_len))
        return exchanges(m) ? -EINVAL : -ENOTEMPTY;
    return 0;
}

/* Two names of one file: the layers' hard links are recognised by inode, the upper's by the kernel.
 */
static bool
same_lower_file(const struct move *m)
{
    const struct view_node *a = view_node(&m->fs->view, m->from->node);
    const struct view_node *b = view_node(&m->fs->view, m->to->node);

    return a && b && m->from->where == UUFS_LOWER && m->to->where == UUFS_LOWER &&
           !is_dir(m->from) && a->ino && a->ino == b->ino && a->layer == b->layer;
}

static bool
same_upper_file(const struct move *m)
{
    struct stat a, b;

    return m->from->where == UUFS_UPPER && m->to->where == UUFS_UPPER &&
           !sys4(SYS_newfstatat, AT_FDCWD, m->from->host, &a, AT_SYMLINK_NOFOLLOW) &&
           !sys4(SYS_newfstatat, AT_FDCWD, m->to->host, &b, AT_SYMLINK_NOFOLLOW) &&
           a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

static int
check_types(const struct move *m)
{
    if (exchanges(m) || m->to->where == UUFS_ABSENT || is_dir(m->from) == is_dir(m->to))
        return 0;
    return is_dir(m->from) ? -ENOTDIR : -EISDIR;
}

static int
check_empty(const struct move *m)
{
    const struct uufs_hit *to = m->to;
    int empty;

    if (exchanges(m) || !is_dir(to))
        return 0;
    if (bind_below(m->fs, to->ctr, to->ctr_len))
        return -ENOTEMPTY;
    empty = uufs_is_empty(m->fs, to->ctr, to->ctr_len, to->node);
    return empty == 0 ? -ENOTEMPTY : empty < 0 ? empty : 0;
}

/* A directory that is in the layers, if only in part, cannot be moved: the program copies, as
 * between file systems. */
static int
check_movable(const struct move *m, const struct uufs_hit *hit)
{
    if (!is_dir(hit))
        return 0;
    if (bind_below(m->fs, hit->ctr, hit->ctr_len))
        return -EBUSY;
    return hit->node != VIEW_NONE || hit->where == UUFS_LOWER ? -EXDEV : 0;
}

/* 0: go on; 1: there is nothing to do; or -errno. */
static int
rename_check(const struct move *m)
{
    int err;

    if (m->from->ctr_len <= 1 || m->to->ctr_len <= 1)
        return -EBUSY;
    if (m->from->read_only)
        return -EROFS;
    err = check_presence(m);
    if (!err)
        err = check_slashes(m);
    if (!err)
        err = check_ancestry(m);
    if (err)
        return err;
    if (!strcmp(m->from->ctr, m->to->ctr) || same_lower_file(m))
        return 1;
    err = check_types(m);
    if (!err && m->flags & RENAME_WHITEOUT) /* the union's own business */
        return same_upper_file(m) ? 1 : -EINVAL;
    if (!err)
        err = check_movable(m, m->from);
    if (!err && exchanges(m))
        err = check_movable(m, m->to);
    if (!err)
        err = check_empty(m);
    return err;
}

/* ---- doing it ---- */

static int
rename_prepare(const struct move *m)
{
    struct uufs_hit *from = m->from, *to = m->to;
    int err = uufs_copy_up(m->fs, from, UUFS_COPY_DATA);

    if (!err && exchanges(m))
        err = uufs_copy_up(m->fs, to, UUFS_COPY_DATA);
    if (!err)
        err = uufs_make_parents(m->fs, to->ctr, to->ctr_len);
    if (err)
        return err;
    uufs_dirty_set(m->fs, to->ctr, to->ctr_len);
    if (is_dir(from))
        uufs_dirty_set_tree(m->fs, to->ctr, to->ctr_len);
    if (exchanges(m) && is_dir(to))
        uufs_dirty_set_tree(m->fs, from->ctr, from->ctr_len);
    return 0;
}

/* A directory about to move to where the layers have a name: nothing of theirs may show in it. */
static OWN_FRAME int
make_opaque(const struct uufs *fs, struct uufs_hit *hit)
{
    struct stat st;
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}};
    long r = sys4(SYS_newfstatat, AT_FDCWD, hit->host, &st, AT_SYMLINK_NOFOLLOW);
    bool narrow;
    int err;

    if (r)
        return (int)r;
    narrow = (st.st_mode & 0300) != 0300;
    if (narrow)
        sys3(SYS_fchmodat, AT_FDCWD, hit->host, (st.st_mode & 07777) | 0300);
    uufs_dirty_set_opaque(fs, hit->ctr, hit->ctr_len);
    err = opaque_make_at(fs, hit->host, hit->host_len);
    times[1] = st.st_mtim;
    sys4(SYS_utimensat, AT_FDCWD, hit->host, times, 0);
    if (narrow)
        sys3(SYS_fchmodat, AT_FDCWD, hit->host, st.st_mode & 07777);
    return err;
}

static int
move_directory(const struct move *m, const char *from, const char *to, unsigned flags)
{
    int err;

    uufs_moves_add(m->fs);
    err = rename_host(from, to, flags);
    if (!err)
        uufs_moves_add(m->fs);
    return err;
}

/* The directory displaced got a name at the last moment: everything back. */
static int
undo_displace(const struct move *m, const char *to_host, int err)
{
    if (err == -ENOTEMPTY)
        move_directory(m, m->from->host, to_host, RENAME_EXCHANGE);
    return err;
}

/* The target is an empty directory but holds marks on the disk: change places with it, then delete
 * it where we were. */
static OWN_FRAME int
displace(const struct move *m, char *to_host)
{
    struct uufs_hit *from = m->from;
    int err = make_opaque(m->fs, m->to);

    uufs_dirty_set_opaque(m->fs, from->ctr, from->ctr_len); /* where it will be for a moment */
    if (!err)
        err = move_directory(m, from->host, to_host, RENAME_EXCHANGE);
    if (!err)
        return undo_displace(m, to_host, upper_discard_dir(m->fs, from->host));
    if (err != -EINVAL)
        return err;
    err = whiteout_make(m->fs, m->to->ctr,
                        m->to->ctr_len); /* no exchange here: the name is absent for a moment */
    if (!err)
        err = upper_discard_dir(m->fs, to_host);
    return err ? err : move_directory(m, from->host, to_host, 0);
}

static int
move_marks(const struct move *m)
{
    bool onto_lower = hit_needs_whiteout(m->fs, m->to),
         from_lower = hit_needs_whiteout(m->fs, m->from);
    int err = 0;

    if (onto_lower && is_dir(m->from))
        err = make_opaque(m->fs, m->from);
    if (!err && exchanges(m) && from_lower && is_dir(m->to))
        err = make_opaque(m->fs, m->to);
    if (!err && !exchanges(m) && from_lower)
        err = whiteout_make(m->fs, m->from->ctr, m->from->ctr_len);
    return err;
}

static int
rename_upper(const struct move *m)
{
    int err = move_marks(m);
    bool upper_target = m->to->where == UUFS_UPPER, directories = is_dir(m->from) || is_dir(m->to);

    if (!err)
        err = upper_take(m->fs, m->to);
    if (!err && upper_target && !exchanges(m))
        extra_forget(m->fs, m->to->host);
    if (!err)
        err = directories ? move_directory(m, m->from->host, m->to->host, m->flags)
                          : rename_host(m->from->host, m->to->host, m->flags);
    if ((err == -ENOTEMPTY || err == -EEXIST) && !m->flags && upper_target && is_dir(m->from) &&
        is_dir(m->to))
        err = displace(m, m->to->host);
    return err;
}

/* Is everything still as the check saw it? 1, 0 or -errno. */
static int
is_current(const struct move *m)
{
    int r = hit_is_current(m->fs, m->from);

    return r == 1 ? hit_is_current(m->fs, m->to) : r;
}

static OWN_FRAME int
refresh(const struct uufs *fs, struct uufs_hit *hit)
{
    struct uufs_hit now;
    int err = hit_now(fs, hit, &now);

    if (err)
        return err;
    now.must_be_dir = hit->must_be_dir;
    now.read_only = hit->read_only;
    *hit = now;
    return 0;
}

/* 0, -errno, or -EAGAIN: the tree has changed since the check. */
static int
rename_locked(const struct move *m)
{
    int lock = uufs_lock(m->fs), r;

    if (lock < 0)
        return lock;
    r = is_current(m);
    if (r == 1)
        r = check_empty(m);
    else if (r == 0)
        r = -EAGAIN;
    if (!r)
        r = rename_upper(m);
    uufs_unlock(lock);
    return r;
}

/* A plain file of the upper that moves to where the layers have nothing is the kernel's business
 * alone. */
static bool
needs_lock(const struct move *m)
{
    return exchanges(m) || is_dir(m->from) || hit_needs_whiteout(m->fs, m->from) ||
           hit_needs_whiteout(m->fs, m->to);
}

static int
rename_in_union(const struct move *m)
{
    for (int tries = 0; tries < MAX_TRIES; tries++) {
        int r = rename_check(m);

        if (r)
            return r < 0 ? r : 0;
        r = rename_prepare(m);
        if (r && r != -ENOENT)
            return r;
        if (!r)
            r = needs_lock(m) ? rename_locked(m) : rename_upper(m);
        if (r != -EAGAIN && r != -ENOENT)
            return r;
        r = refresh(m->fs, m->from);
        if (!r)
            r = refresh(m->fs, m->to);
        if (r)
            return r;
    }
    return -EBUSY;
}

int
uufs_rename(const struct uufs *fs, struct uufs_hit *from, struct uufs_hit *to, unsigned flags)
{
    const struct move m = {fs, from, to, flags};
    int err = uufs_rename_flags(flags), mount = hit_mount(fs, from);

    if (err)
        return err;
    if (mount != hit_mount(fs, to))
        return -EXDEV;
    if (hit_is_mount(fs, from) || hit_is_mount(fs, to))
        return -EBUSY;
    return mount == -1 ? rename_in_union(&m) : rename_in_bind(&m);
}
