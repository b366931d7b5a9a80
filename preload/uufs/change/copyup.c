/* Copy-up: a lower name becomes an upper one, whole and in one step.
 *
 * Everything is made under a temporary name in WORK, bytes, mode, times and attributes, and then
 * moved to its place if that is still free; who comes second uses the winner's. The parent
 * directories come first, one by one, the same way; their modes and times do not show that anything
 * happened in them. */
#include "copyup.h"

#include "../../base/str.h"
#include "../dirty.h"
#include "../escape.h"
#include "../hostfd.h"
#include "../lock.h"
#include "../path.h"
#include "../upper.h"
#include "../walk/hit.h"
#include "../whiteout.h"
#include "copydata.h"
#include "owner.h"

#include <sys/stat.h>

/* ---- directories ---- */

long
uufs_layer_path(const struct uufs *fs, uint32_t layer, const char *ctr, size_t len, char *host)
{
    size_t host_len = 0;
    int err;

    if (layer >= fs->n_layers)
        return -EIO;
    err = str_append(host, LPMX_PATH_MAX, &host_len, fs->strings + fs->layers[layer].off,
                     fs->layers[layer].len);
    if (!err)
        err = str_append(host, LPMX_PATH_MAX, &host_len, ctr, len);
    return err ? err : (long)host_len;
}

static OWN_FRAME int
dir_copy_xattrs(const struct uufs *fs, const struct view_node *n, const char *ctr, size_t len,
                const char *temp)
{
    char lower[LPMX_PATH_MAX];
    long r = uufs_layer_path(fs, n->layer, ctr, len, lower);

    return r < 0 ? (int)r : copy_xattrs(lower, temp);
}

/* The lower directory @n as a temporary one. It is writable to us until it is in place, or it could
 * not be moved. */
static int
dir_make_temp(const struct uufs *fs, const struct view_node *n, const char *ctr, size_t len,
              char *temp)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {n->mtime, n->mtime_ns}};
    long r;

    do {
        r = upper_temp(fs, temp);
        if (!r)
            r = sys3(SYS_mkdirat, AT_FDCWD, temp, 0700);
    } while (r == -EEXIST);
    if (r)
        return (int)r;
    r = dir_copy_xattrs(fs, n, ctr, len, temp);
    if (!r)
        r = owner_of_node(fs, n, temp, S_IFDIR | (n->mode & 07777) | 0700);
    if (!r)
        r = sys3(SYS_fchmodat, AT_FDCWD, temp, (n->mode & 07777) | 0700);
    if (!r)
        r = sys4(SYS_utimensat, AT_FDCWD, temp, times, 0);
    if (r)
        sys3(SYS_unlinkat, AT_FDCWD, temp, AT_REMOVEDIR);
    return (int)r;
}

/* Make the lower directory @n at @host in the upper. The lock is held, the parent is there. */
static OWN_FRAME int
dir_copy_up(const struct uufs *fs, const struct view_node *n, const char *ctr, size_t len,
            char *host, size_t host_len)
{
    char temp[LPMX_PATH_MAX];
    struct upper_guard guard;
    int err = dir_make_temp(fs, n, ctr, len, temp);

    if (err)
        return err;
    uufs_dirty_set(fs, ctr, len);
    if (!(n->mode & S_IXUSR))
        uufs_dirty_set_closed(fs);
    err = upper_guard(&guard, host, host_len);
    if (!err) {
        err = upper_publish(temp, host, true);
        /* its inode may be that of a directory that is gone, see calls/paths/dircache.c */
        uufs_moves_add(fs);
        upper_release(&guard);
    }
    if (err)
        sys3(SYS_unlinkat, AT_FDCWD, temp, AT_REMOVEDIR);
    else if ((n->mode & 0700) != 0700)
        sys3(SYS_fchmodat, AT_FDCWD, host, n->mode & 07777);
    return err == -EEXIST ? 0 : err;
}

/* The way down from the root: how much of @ctr is in the upper, and the lower directory that shows
 * there. */
struct descent {
    const struct uufs *fs;
    const char *ctr;
    size_t at;     /* bytes of ctr done */
    uint32_t node; /* VIEW_NONE: nothing of the layers shows here */
    size_t host_len;
    char host[LPMX_PATH_MAX];
};

/* The upper has this component: does the lower directory @child show through it? */
static int
descent_enter(struct descent *d, uint32_t child, uint32_t mode)
{
    const struct view_node *n = view_node(&d->fs->view, child);
    int opaque = 0;

    if (!S_ISDIR(mode))
        return -ENOTDIR;
    d->node = VIEW_NONE;
    if (!n || !S_ISDIR(n->mode))
        return 0;
    opaque = opaque_test(d->fs, d->ctr, d->at);
    if (opaque < 0)
        return opaque;
    if (!opaque)
        d->node = child;
    return 0;
}

/* The upper lacks this component. */
static int
descent_make(struct descent *d, uint32_t child)
{
    const struct view_node *n = view_node(&d->fs->view, child);
    int r;

    if (!n)
        return -ENOENT;
    r = whiteout_test(d->fs, d->ctr, d->at);
    if (r)
        return r < 0 ? r : -ENOENT;
    if (!S_ISDIR(n->mode))
        return -ENOTDIR;
    d->node = child;
    return dir_copy_up(d->fs, n, d->ctr, d->at, d->host, d->host_len);
}

static int
descent_step(struct descent *d, size_t len)
{
    size_t start = d->at + 1, end = start;
    uint32_t child = VIEW_NONE, mode = 0;
    int r;

    while (end < len && d->ctr[end] != '/')
        end++;
    if (d->node != VIEW_NONE)
        child = view_child(&d->fs->view, d->node, d->ctr + start, end - start);
    r = escape_append(d->host, sizeof(d->host), &d->host_len, d->ctr + d->at, end - d->at);
    if (r)
        return r;
    d->at = end;
    r = upper_exists(d->host, &mode);
    if (r < 0)
        return r;
    return r ? descent_enter(d, child, mode) : descent_make(d, child);
}

static OWN_FRAME int
make_dirs_locked(const struct uufs *fs, const char *ctr, size_t len)
{
    struct descent d = {.fs = fs, .ctr = ctr};
    int err = str_append(d.host, sizeof(d.host), &d.host_len, fs->upper, fs->upper_len);

    while (!err && d.at < len)
        err = descent_step(&d, len);
    return err;
}

/* Is the directory in the upper already? 1, 0 or -errno. */
static OWN_FRAME int
has_dir(const struct uufs *fs, const char *ctr, size_t len)
{
    char host[LPMX_PATH_MAX];
    uint32_t mode = 0;
    long r = upper_path(fs, ctr, len, host);

    if (r >= 0)
        r = upper_exists(host, &mode);
    return r == 1 && !S_ISDIR(mode) ? -ENOTDIR : (int)r;
}

int
upper_make_dirs(const struct uufs *fs, const char *ctr, size_t len)
{
    int r, lock;

    if (!fs->upper)
        return -EROFS;
    if (len <= 1)
        return 0;
    r = has_dir(fs, ctr, len);
    if (r)
        return r < 0 ? r : 0;
    lock = uufs_lock(fs);
    if (lock < 0)
        return lock;
    r = make_dirs_locked(fs, ctr, len);
    uufs_unlock(lock);
    return r;
}

int
uufs_make_parents(const struct uufs *fs, const char *ctr, size_t len)
{
    return upper_make_dirs(fs, ctr, path_parent(ctr, len));
}

/* ---- files and the rest ---- */

/* A seed's source is the host's and may be a symlink there; a layer's file is taken as it is. */
static bool
is_seed(const struct uufs_hit *hit)
{
    return hit->node == VIEW_NONE;
}

/* What the layer says of the file and the disk cannot goes along. */
static int
keep_owner(const struct uufs *fs, const struct uufs_hit *hit, uint32_t disk, const char *temp)
{
    const struct view_node *n = is_seed(hit) ? NULL : view_node(&fs->view, hit->node);

    return n ? owner_of_node(fs, n, temp, disk) : 0;
}

static int
fill_file(const struct uufs *fs, const struct uufs_hit *hit, const struct stat *st,
          enum uufs_copy_how how, int dst, const char *temp)
{
    const struct timespec times[2] = {st->st_atim, st->st_mtim};
    int src, err = 0;

    if (how == UUFS_COPY_DATA) {
        src = hostfd_open(hit->host, O_RDONLY | O_NOCTTY | (is_seed(hit) ? 0 : O_NOFOLLOW), 0);
        if (src < 0)
            return src;
        err = copy_data(src, dst);
        sys1(SYS_close, src);
    }
    if (!err && !is_seed(hit))
        err = copy_xattrs(hit->host, temp);
    if (!err)
        err = keep_owner(fs, hit, st->st_mode, temp);
    if (!err)
        err = (int)sys2(SYS_fchmod, dst, st->st_mode & 07777);
    if (!err)
        err = (int)sys4(SYS_utimensat, dst, NULL, times, 0);
    return err;
}

static int
make_file(const struct uufs *fs, const struct uufs_hit *hit, const struct stat *st,
          enum uufs_copy_how how, char *temp)
{
    int fd, err;

    do {
        err = upper_temp(fs, temp);
        if (err)
            return err;
        fd = hostfd_open(temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    } while (fd == -EEXIST);
    if (fd < 0)
        return fd;
    err = fill_file(fs, hit, st, how, fd, temp);
    if (sys1(SYS_close, fd) < 0 && !err) /* NFS tells here that the disk is full */
        err = -EIO;
    if (err)
        sys3(SYS_unlinkat, AT_FDCWD, temp, 0);
    return err;
}

static OWN_FRAME int
make_symlink(const struct uufs *fs, const struct uufs_hit *hit, char *temp)
{
    char target[LPMX_PATH_MAX];
    long r = sys4(SYS_readlinkat, AT_FDCWD, hit->host, target, sizeof(target) - 1);

    if (r < 0)
        return (int)r;
    target[r] = '\0';
    do {
        r = upper_temp(fs, temp);
        if (!r)
            r = sys3(SYS_symlinkat, target, AT_FDCWD, temp);
    } while (r == -EEXIST);
    return (int)r;
}

static int
make_special(const struct uufs *fs, const struct stat *st, char *temp)
{
    long r;

    do {
        r = upper_temp(fs, temp);
        if (!r)
            r = sys4(SYS_mknodat, AT_FDCWD, temp, (st->st_mode & S_IFMT) | 0600, st->st_rdev);
    } while (r == -EEXIST);
    if (!r)
        sys3(SYS_fchmodat, AT_FDCWD, temp, st->st_mode & 07777);
    return (int)r;
}

/* A copy of the lower hit in WORK. */
static int
make_temp(const struct uufs *fs, const struct uufs_hit *hit, enum uufs_copy_how how, char *temp)
{
    struct stat st;
    struct timespec times[2];
    long r = sys4(SYS_newfstatat, AT_FDCWD, hit->host, &st, is_seed(hit) ? 0 : AT_SYMLINK_NOFOLLOW);

    if (r < 0)
        return (int)r;
    if (S_ISDIR(st.st_mode))
        return -EISDIR;
    if (S_ISREG(st.st_mode))
        return make_file(fs, hit, &st, how, temp);
    r = S_ISLNK(st.st_mode) ? make_symlink(fs, hit, temp) : make_special(fs, &st, temp);
    if (!r)
        r = keep_owner(fs, hit, st.st_mode, temp);
    if (r)
        return (int)r;
    times[0] = st.st_atim;
    times[1] = st.st_mtim;
    sys4(SYS_utimensat, AT_FDCWD, temp, times, AT_SYMLINK_NOFOLLOW);
    return 0;
}

/* With the lock held: 0 when the copy is in place, 1 when another's is, or -errno. hit->host is the
 * upper's path. */
static int
publish_locked(struct uufs_hit *hit, const char *temp)
{
    struct upper_guard guard;
    int err = upper_guard(&guard, hit->host, hit->host_len);

    if (err)
        return err;
    err = upper_publish(temp, hit->host, false);
    upper_release(&guard);
    return err == -EEXIST ? 1 : err;
}

/* What has become of the name since the copy was begun: UUFS_LOWER still, UUFS_UPPER by another, or
 * -errno. */
static OWN_FRAME int
state_now(const struct uufs *fs, const struct uufs_hit *hit)
{
    struct uufs_hit now;
    int err = hit_now(fs, hit, &now);

    if (err)
        return err;
    if (now.where == UUFS_ABSENT)
        return -ENOENT;
    return now.where == UUFS_UPPER && now.type == S_IFDIR ? -EISDIR : (int)now.where;
}

static int
publish_copy(const struct uufs *fs, struct uufs_hit *hit, const char *temp)
{
    int lock = uufs_lock(fs), r;

    if (lock < 0)
        return lock;
    r = state_now(fs, hit);
    if (r >= 0) {
        int winner = r == UUFS_UPPER;

        r = upper_take(fs, hit);
        if (!r && !winner) {
            uufs_dirty_set(fs, hit->ctr, hit->ctr_len);
            r = publish_locked(hit, temp);
        } else if (!r) {
            r = 1;
        }
    }
    uufs_unlock(lock);
    return r;
}

static OWN_FRAME int
copy_up_name(const struct uufs *fs, struct uufs_hit *hit, enum uufs_copy_how how)
{
    char temp[LPMX_PATH_MAX];
    int r = make_temp(fs, hit, how, temp);

    if (r)
        return r;
    r = publish_copy(fs, hit, temp);
    if (r)
        sys3(SYS_unlinkat, AT_FDCWD, temp, 0);
    return r < 0 ? r : 0;
}

int
uufs_copy_up(const struct uufs *fs, struct uufs_hit *hit, enum uufs_copy_how how)
{
    int err;

    if (hit->where == UUFS_ABSENT)
        return -ENOENT;
    if (hit->where != UUFS_LOWER)
        return 0;
    if (hit->read_only || !fs->upper)
        return -EROFS;
    if (hit->type == S_IFDIR) {
        err = upper_make_dirs(fs, hit->ctr, hit->ctr_len);
        if (!err)
            err = upper_take(fs, hit);
    } else {
        err = uufs_make_parents(fs, hit->ctr, hit->ctr_len);
        if (!err)
            err = copy_up_name(fs, hit, how);
        if (!err)
            hit->node = VIEW_NONE;
    }
    if (!err)
        hit->where = UUFS_UPPER;
    return err;
}
