/* The walk below a bind: each component is looked at on the host. /proc's own symlinks are left to
 * the kernel; its magic links are followed to where they lead in the container. */
#include "walkbind.h"

#include "../../base/libc.h"
#include "../../base/str.h"
#include "../proclink.h"
#include "alias.h"
#include "fromhost.h"
#include "walkhost.h"

#include <linux/stat.h>
#include <sys/stat.h>

HOT_FILE;

/* A mount of its own for each bind, and below it the host's. */
static uint64_t
mount_of(const struct walk *w)
{
    const struct uufs_hit *hit = w->hit;
    struct statx sx;

    if (hit->bind < 0)
        return 0;
    if (hit->where == UUFS_ABSENT ||
        sys5(SYS_statx, AT_FDCWD, hit->host, AT_SYMLINK_NOFOLLOW, STATX_MNT_ID, &sx))
        return w->mount;
    if (!(sx.stx_mask & STATX_MNT_ID)) /* before Linux 5.8: what a mount shows must do */
        sx.stx_mnt_id = (uint64_t)sx.stx_dev_major << 20 | sx.stx_dev_minor;
    return (uint64_t)(hit->bind + 1) << 48 ^ sx.stx_mnt_id;
}

COLD int
walk_check_mount(struct walk *w)
{
    uint64_t mount = mount_of(w);

    if (w->mount == NO_MOUNT_YET)
        w->mount = mount;
    return mount == w->mount ? 0 : -EXDEV;
}

/* A magic link leads anywhere. */
static int
check_magic(const struct walk *w)
{
    if (w->how & (UUFS_NO_SYMLINKS | UUFS_NO_MAGIC))
        return -ELOOP;
    return w->how & (UUFS_NO_XDEV | UUFS_SCOPED) ? -EXDEV : 0;
}

/* The container path that a magic link stands for, into w->target; its length, or -errno. */
COLD static long
proc_link_target(struct walk *w, enum proc_link kind)
{
    char host[LPMX_PATH_MAX];
    long n;

    if (kind == PROC_ROOT) {
        const char *root = w->root ? w->root : "/";

        n = (long)strlen(root);
        memcpy(w->target, root, (size_t)n + 1);
        return n;
    }
    if (kind == PROC_EXE && w->fs->proc_exe) {
        int err = w->fs->proc_exe(w->hit->host, w->target, sizeof(w->target));

        if (err <= 0)
            return err ? err : (long)strlen(w->target);
    }
    n = sys4(SYS_readlinkat, AT_FDCWD, w->hit->host, host, sizeof(host) - 1);
    if (n < 0)
        return n;
    host[n] = '\0';
    n = uufs_from_host(w->fs, host, w->target, sizeof(w->target));
    return n < 0 ? n : (long)strlen(w->target);
}

int
walk_enter_bind(struct walk *w, int bind)
{
    struct uufs_hit *hit = w->hit;

    hit->bind = bind;
    hit->where = UUFS_BIND;
    hit->type = w->fs->binds[bind].flags & UUFS_BIND_FILE ? 0 : S_IFDIR;
    hit->lower_name = false;
    hit->magic = false;
    w->bind_depth = w->depth;
    return hit_in_bind(w->fs, hit);
}

/* A component of /proc, hit->host. As walk_in_bind. */
static long
step_in_proc(struct walk *w, bool last, bool follow)
{
    struct uufs_hit *hit = w->hit;
    enum proc_link kind = proc_link_kind(hit->ctr + w->fs->binds[hit->bind].dst_len);
    long r;

    hit->magic = kind != PROC_PLAIN;
    if (!follow)
        return 0;
    if (!hit->magic && w->how & UUFS_NO_SYMLINKS) {
        r = sys4(SYS_readlinkat, AT_FDCWD, hit->host, w->target, sizeof(w->target));
        return r > 0 ? -ELOOP : 0;
    }
    r = hit->magic ? check_magic(w) : 0;
    if (r || !hit->magic || (kind == PROC_FD && last))
        return r;
    return proc_link_target(w, kind);
}

long
walk_in_bind(struct walk *w, bool last)
{
    const struct uufs *fs = w->fs;
    struct uufs_hit *hit = w->hit;
    const struct uufs_bind *b = &fs->binds[hit->bind];
    bool follow = !last || (w->how & UUFS_FOLLOW);
    struct stat st;
    long r;
    int err = hit_in_bind(fs, hit);

    if (err)
        return err;
    hit->where = UUFS_BIND;
    hit->type = 0;
    hit->magic = false;
    hit->lower_name = false;
    if (w->how & UUFS_CANONICAL) {
        hit->type = S_IFDIR;
        return 0;
    }
    if (b->flags & UUFS_BIND_PROC)
        return step_in_proc(w, last, follow);
    if ((b->flags & UUFS_BIND_NO_LINKS) && (!last || !(w->how & UUFS_MISSING)))
        return 0;
    if (follow) {
        r = sys4(SYS_readlinkat, AT_FDCWD, hit->host, w->target, sizeof(w->target) - 1);
        if (r > 0) {
            w->target[r] = '\0';
            return r;
        }
        if (r == -EINVAL)
            return 0;
        if (r == -ENOENT && last && (w->how & UUFS_MISSING)) {
            hit->where = UUFS_ABSENT;
            return 0;
        }
        return r;
    }
    if (!(w->how & UUFS_MISSING))
        return 0;
    r = sys4(SYS_newfstatat, AT_FDCWD, hit->host, &st, AT_SYMLINK_NOFOLLOW);
    if (r == -ENOENT)
        hit->where = UUFS_ABSENT;
    else if (r < 0)
        return r;
    else
        hit->type = st.st_mode & S_IFMT;
    return 0;
}

int
walk_finish_in_bind(struct walk *w)
{
    const struct uufs *fs = w->fs;
    struct uufs_hit *hit = w->hit;
    const struct uufs_bind *b = &fs->binds[hit->bind];
    size_t len;
    int err = hit_in_bind(fs, hit);

    if (err)
        return err;
    hit->read_only = (b->flags & UUFS_BIND_RO) != 0;
    if (w->id_depth && (w->id_depth < w->depth || w->how & UUFS_LAST))
        hit->read_only |= alias_guards(fs, hit->host, hit->where != UUFS_ABSENT);
    len = hit->host_len;
    if (b->flags & UUFS_BIND_LINK && hit->ctr_len == b->dst_len)
        err = str_append(hit->host, sizeof(hit->host), &len, "/.", 2);
    else if (hit->must_be_dir && hit->where == UUFS_BIND && hit->type != S_IFDIR)
        err = str_append(hit->host, sizeof(hit->host), &len, "/", 1);
    hit->host_len = (uint32_t)len;
    return err;
}
