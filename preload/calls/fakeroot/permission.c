/* What programs that gave root's rights up may do to the union's files: see permission.h. The rules
 * are those of path_resolution(7), inode(7) and the kernel's generic_permission. */
#include "permission.h"

#include "../../uufs/path.h"
#include "../../uufs/proclink.h"
#include "../../uufs/walk/walk.h"
#include "../program/call.h"
#include "../program/usermem.h"
#include "acl.h"
#include "cred.h"
#include "ownership.h"

#include <sys/stat.h>

#define BIT(cap) (1ull << (cap))

/* Is there anything that the program may not do to files? */
static bool
is_restricted(void)
{
    const uint64_t all = BIT(CRED_CAP_DAC_OVERRIDE) | BIT(CRED_CAP_FOWNER);

    return emulates_root() && (cred_now()->effective & all) != all;
}

/* @path: where the file's ACL is, with @follow at the end of the link; NULL: it has none. */
static int
judge(const struct stat *st, unsigned want, const char *path, bool follow)
{
    const struct cred *c = cred_now();
    struct acl_question question = {st, want, c->user.fs, c->group.fs};
    unsigned bits = st->st_mode;
    int r;

    if (cred_has(c, CRED_CAP_DAC_READ_SEARCH) && !(want & PERMISSION_WRITE) &&
        (S_ISDIR(bits) || !(want & PERMISSION_EXECUTE)))
        return 0;
    if (cred_has(c, CRED_CAP_DAC_OVERRIDE) &&
        (S_ISDIR(bits) || !(want & PERMISSION_EXECUTE) || bits & 0111))
        return 0;
    if (path && c->user.fs != st->st_uid) {
        r = acl_check(path, follow, &question);
        if (r <= 0)
            return r;
    }
    bits = c->user.fs == st->st_uid ? bits >> 6 : cred_in_group(c, st->st_gid) ? bits >> 3 : bits;
    return (bits & want) == want ? 0 : -EACCES;
}

/* ---- walking ---- */

HOT_TEXT unsigned
permission_how(void)
{
    bool searches_all = !emulates_root() || cred_has(cred_now(), CRED_CAP_DAC_OVERRIDE);

    return UUFS_ROOTED | (searches_all ? 0 : UUFS_GUARDED) | (emulates_root() ? 0 : UUFS_ASKED);
}

int
permission_search(const struct view_node *lower, const char *upper)
{
    struct extra_file file = {.path = upper};
    struct stat st;
    int r;

    if (lower) {
        st.st_uid = lower->tar_uid;
        st.st_gid = lower->tar_gid;
        st.st_mode = lower->tar_mode;
        return judge(&st, PERMISSION_EXECUTE, NULL, false);
    }
    r = extra_file_stat(&file);
    if (r)
        return r;
    st = file.st;
    ownership_show_upper(&file, &st);
    return judge(&st, PERMISSION_EXECUTE, upper, false);
}

/* ---- what was found ---- */

/* The shown metadata of a hit that is ours to judge: 1, 0 for others, or -errno. */
static int
look(const struct uufs_hit *hit, struct stat *st)
{
    long r;

    if (!is_restricted() || hit->where == UUFS_ABSENT ||
        !(hit->in_union || (hit->magic && ownership_in_union(hit->host))))
        return 0;
    r = sys4(SYS_newfstatat, AT_FDCWD, hit->host, st, hit->magic ? 0 : AT_SYMLINK_NOFOLLOW);
    if (r)
        return (int)r;
    ownership_show(hit, st);
    return 1;
}

static int
look_behind(int fd, struct stat *st)
{
    char link[PROC_LINK_SIZE];
    long r;

    proc_link_fd(fd, link);
    if (!is_restricted() || fd < 0 || !ownership_in_union(link))
        return 0;
    r = sys2(SYS_fstat, fd, st);
    if (r)
        return (int)r;
    ownership_show_fd(fd, st);
    return 1;
}

int
permission_check_fd(int fd, unsigned want)
{
    char link[PROC_LINK_SIZE];
    struct stat st;
    int r = look_behind(fd, &st);

    proc_link_fd(fd, link);
    return r > 0 ? judge(&st, want, link, true) : r;
}

static int
judge_hit(const struct uufs_hit *hit, const struct stat *st, unsigned want)
{
    return judge(st, want, hit->where == UUFS_LOWER ? NULL : hit->host, hit->magic);
}

HOT_TEXT int
permission_check(const struct uufs_hit *hit, unsigned want)
{
    struct stat st;
    int r = want ? look(hit, &st) : 0;

    return r > 0 ? judge_hit(hit, &st, want) : r;
}

/* May names be changed in the directory that holds @hit? 1 and its metadata, 0 where there is
 * nothing to judge, or -errno. */
static OWN_FRAME int
judge_parent(const struct uufs_hit *hit, struct stat *st)
{
    char path[LPMX_PATH_MAX];
    size_t len = path_parent(hit->ctr, hit->ctr_len);
    struct uufs_hit parent;
    int err, r;

    if (!is_restricted() || !hit->in_union)
        return 0;
    memcpy(path, hit->ctr, len);
    path[len] = '\0';
    err = uufs_walk(&engine.fs, "/", len ? path : "/", 0, &parent);
    if (err)
        return err;
    r = look(&parent, st);
    if (r > 0)
        err = judge_hit(&parent, st, PERMISSION_WRITE | PERMISSION_EXECUTE);
    return err ? err : r;
}

int
permission_to_make(const struct uufs_hit *hit)
{
    struct stat st;
    int r = judge_parent(hit, &st);

    return r < 0 ? r : 0;
}

int
permission_to_remove(const struct uufs_hit *hit)
{
    struct stat parent, st;
    int r = judge_parent(hit, &parent);
    const struct cred *c;

    if (r <= 0 || !(parent.st_mode & S_ISVTX))
        return r < 0 ? r : 0;
    c = cred_now();
    if (c->user.fs == parent.st_uid || cred_has(c, CRED_CAP_FOWNER))
        return 0;
    r = look(hit, &st);
    return r > 0 && st.st_uid != c->user.fs ? -EPERM : r > 0 ? 0 : r;
}

int
permission_to_move(const struct uufs_hit *from, const struct uufs_hit *to)
{
    size_t len = path_parent(from->ctr, from->ctr_len);

    if (from->type != S_IFDIR ||
        (len == path_parent(to->ctr, to->ctr_len) && !memcmp(from->ctr, to->ctr, len)))
        return 0;
    return permission_check(from, PERMISSION_WRITE); /* its ".." is written */
}

static bool
is_owner(const struct stat *st)
{
    return st->st_uid == cred_now()->user.fs || cred_has(cred_now(), CRED_CAP_FOWNER);
}

/* As this machine's kernel is set. */
COLD static bool
protects_links(void)
{
    long fd = sys3(SYS_openat, AT_FDCWD, "/proc/sys/fs/protected_hardlinks", O_RDONLY | O_CLOEXEC);
    char digit = '0';

    if (fd < 0)
        return false;
    sys3(SYS_read, fd, &digit, 1);
    sys1(SYS_close, fd);
    return digit != '0';
}

COLD int
permission_to_link(const struct uufs_hit *hit)
{
    const unsigned group = S_ISGID | S_IXGRP;
    struct stat st;
    int r = look(hit, &st);

    if (r <= 0 || is_owner(&st) || !protects_links())
        return r < 0 ? r : 0;
    if (!S_ISREG(st.st_mode) || st.st_mode & S_ISUID || (st.st_mode & group) == group)
        return -EPERM;
    return judge_hit(hit, &st, PERMISSION_READ | PERMISSION_WRITE) ? -EPERM : 0;
}

/* ---- calls ---- */

/* Who may open with O_NOATIME. */
COLD static int
to_open_unseen(const struct uufs_hit *hit)
{
    struct stat st;
    int r = look(hit, &st);

    return r > 0 && !is_owner(&st) ? -EPERM : r < 0 ? r : 0;
}

HOT_TEXT int
permission_to_open(const struct uufs_hit *hit, unsigned long flags)
{
    static const unsigned wanted[] = {PERMISSION_READ, PERMISSION_WRITE,
                                      PERMISSION_READ | PERMISSION_WRITE,
                                      PERMISSION_READ | PERMISSION_WRITE};
    int err;

    if (flags & O_PATH)
        return 0;
    if ((flags & O_TMPFILE) == O_TMPFILE)
        return permission_check(hit, PERMISSION_WRITE | PERMISSION_EXECUTE);
    err =
        permission_check(hit, wanted[flags & O_ACCMODE] | (flags & O_TRUNC ? PERMISSION_WRITE : 0));
    return err || !(flags & O_NOATIME) ? err : to_open_unseen(hit);
}

enum touch {
    TOUCH_NOTHING, /* both times are left as they are */
    TOUCH_NOW,
    TOUCH_SET, /* to what the program says */
};

static enum touch
how_touched(const struct call *c)
{
    bool by_descriptor = c->row->nr == SYS_utimensat || c->row->nr == SYS_futimesat;
    unsigned long times = c->a[by_descriptor ? 2 : 1];
    struct timespec both[2];

    if (!times)
        return TOUCH_NOW;
    if (c->row->nr != SYS_utimensat || user_copy(both, times, sizeof(both)))
        return TOUCH_SET;
    if (both[0].tv_nsec == UTIME_OMIT && both[1].tv_nsec == UTIME_OMIT)
        return TOUCH_NOTHING;
    return both[0].tv_nsec == UTIME_NOW && both[1].tv_nsec == UTIME_NOW ? TOUCH_NOW : TOUCH_SET;
}

static int
to_touch(const struct call *c, const struct stat *st, const char *path, bool follow)
{
    const struct cred *now = cred_now();
    enum touch how = how_touched(c);

    if (how == TOUCH_NOTHING || now->user.fs == st->st_uid || cred_has(now, CRED_CAP_FOWNER))
        return 0;
    return how == TOUCH_SET ? -EPERM : judge(st, PERMISSION_WRITE, path, follow);
}

int
permission_for_descriptor(const struct call *c)
{
    bool touches = c->row->nr == SYS_utimensat || c->row->nr == SYS_futimesat;
    char link[PROC_LINK_SIZE];
    struct stat st;
    int r = touches ? look_behind((int)c->a[0], &st) : 0;

    proc_link_fd((int)c->a[0], link);
    return r > 0 ? to_touch(c, &st, link, true) : r;
}

int
permission_for_call(const struct call *c, const struct uufs_hit *hit)
{
    struct stat st;
    int r;

    if (!is_restricted())
        return 0;
    switch (c->row->nr) {
    case SYS_chdir:
        return permission_check(hit, PERMISSION_EXECUTE);
    case SYS_truncate:
        return permission_check(hit, PERMISSION_WRITE);
    case SYS_inotify_add_watch:
        return permission_check(hit, PERMISSION_READ);
    case SYS_utime:
    case SYS_utimes:
    case SYS_futimesat:
    case SYS_utimensat:
        r = look(hit, &st);
        return r > 0 ? to_touch(c, &st, hit->where == UUFS_LOWER ? NULL : hit->host, hit->magic)
                     : r;
    }
    return 0;
}
