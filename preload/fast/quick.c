/* Lookups that are answered from the view alone, on the caller's own stack: no signal is blocked
 * and nothing is held, so they may be interrupted and left at any point; frames are small.
 *
 * Only the plain case: a path below the root or below a known directory of a layer, no symlink on
 * the way, no bind, nothing in the upper. Whatever is not plain is declined and carried out by the
 * walk (uufs/walk.c), whose answers these are. */
#include "../calls/known.h"
#include "../calls/call.h"
#include "../calls/lower.h"
#include "quick.h"

#include <sys/stat.h>

#define PAGE     4096UL
#define OPEN_MAX 1024 /* host paths of opens on the caller's stack */

struct quick {
    const char *path; /* the program's, up to the end of its page readable */
    size_t max;
    uint32_t node;
    char base[KNOWN_PATH_MAX];
    size_t base_len; /* 0: the path is absolute */
};

/* ---- what stands in the way ---- */

static bool
is_bind(const char *ctr, size_t len)
{
    const struct uufs *fs = &engine.fs;

    for (uint32_t i = 0; i < fs->n_binds; i++)
        if (fs->binds[i].dst_len == len && !memcmp(fs->strings + fs->binds[i].dst, ctr, len))
            return true;
    return false;
}

static bool
has_bind_below(const char *ctr, size_t len)
{
    const struct uufs *fs = &engine.fs;

    for (uint32_t i = 0; i < fs->n_binds; i++)
        if (fs->binds[i].dst_len > len && fs->strings[fs->binds[i].dst + len] == '/' &&
            !memcmp(fs->strings + fs->binds[i].dst, ctr, len))
            return true;
    return false;
}

static bool
may_be_upper(const char *ctr, size_t len)
{
    return uufs_dirty_test_tree(&engine.fs, ctr, len) || uufs_dirty_test(&engine.fs, ctr, len);
}

/* The upper has @ctr only if it has all above it. */
static bool
is_all_lower(const char *ctr, size_t len)
{
    size_t end = 1;

    if (!engine.fs.upper)
        return true;
    while (end < len && ctr[end] != '/')
        end++;
    return !may_be_upper(ctr, end);
}

/* ---- the walk ---- */

/* The length of the component at @name, 0 for what the walk proper has to see. */
static size_t
component(const char *name, size_t max)
{
    size_t len = 0;

    while (len < max && name[len] && name[len] != '/')
        len++;
    if (len == max || len > LPMX_NAME_MAX || (name[0] == '.' && (len < 3 || name[1] == 'w')))
        return 0;
    return name[0] == '.' && name[1] == '.' && len == 2 ? 0 : len;
}

/* Take the component from @at to @end. 0, -errno or FAST_DECLINE. */
static long
step(struct quick *q, size_t at, size_t end, bool last)
{
    const struct view *view = &engine.fs.view;
    const struct view_node *n = view_node(view, q->node);

    if (!n || S_ISLNK(n->mode))
        return FAST_DECLINE;
    if (!S_ISDIR(n->mode))
        return -ENOTDIR;
    if (!q->base_len &&
        (is_bind(q->path, end) || (at == 1 && engine.fs.upper && may_be_upper(q->path, end))))
        return FAST_DECLINE;
    q->node = view_child(view, q->node, q->path + at, end - at);
    if (q->node == VIEW_NONE)
        return -ENOENT;
    return !last && S_ISLNK(view->nodes[q->node].mode) ? FAST_DECLINE : 0;
}

static long
walk(struct quick *q)
{
    size_t at = q->base_len ? 0 : 1;

    for (;;) {
        size_t len = component(q->path + at, q->max - at), end = at + len;
        bool last = len && !q->path[end];
        long r = len ? step(q, at, end, last) : FAST_DECLINE;

        if (r || last)
            return r;
        at = end + 1;
    }
}

/* The directory that a relative path counts from. */
static bool
find_base(struct quick *q, int dirfd)
{
    struct known_directory known;
    struct stat st;
    long r = dirfd == AT_FDCWD ? sys4(SYS_newfstatat, AT_FDCWD, "", &st, AT_EMPTY_PATH)
                               : sys2(SYS_fstat, dirfd, &st);

    if (r || !S_ISDIR(st.st_mode) || !known_find(st.st_dev, st.st_ino, &known) ||
        known.node == VIEW_NONE || known.len < 2 || !is_all_lower(known.ctr, known.len) ||
        has_bind_below(known.ctr, known.len))
        return false;
    memcpy(q->base, known.ctr, known.len + 1);
    q->base_len = known.len;
    q->node = known.node;
    return true;
}

/* Find @path. 0 with q->node, -errno, or FAST_DECLINE. */
static long
quick_find(struct quick *q, int dirfd, unsigned long path)
{
    if (engine.plan->flags & (PLAN_IDENTITY | PLAN_FAKEROOT))
        return FAST_DECLINE;
    if (user_readable((const void *)path, 1))
        return -EFAULT;
    q->path = (const char *)path;
    q->max = PAGE - (path & (PAGE - 1));
    q->base_len = 0;
    q->node = 0;
    if (!q->path[0] || (q->path[0] != '/' && !find_base(q, dirfd)))
        return FAST_DECLINE;
    return walk(q);
}

static const struct view_node *
found(const struct quick *q)
{
    return &engine.fs.view.nodes[q->node];
}

/* ---- the calls ---- */

static long
quick_stat(int dirfd, unsigned long path, bool follow, unsigned long buf)
{
    struct quick q;
    struct stat st;
    uint64_t device;
    long r = quick_find(&q, dirfd, path);

    if (r)
        return r;
    if ((follow && S_ISLNK(found(&q)->mode)) || !lower_device(found(&q)->layer, &device))
        return FAST_DECLINE;
    lower_stat(found(&q), device, &st);
    return user_put(buf, &st, sizeof(st));
}

static long
quick_access(int dirfd, unsigned long path, unsigned long mode)
{
    struct quick q;
    long r = quick_find(&q, dirfd, path);

    if (r)
        return r;
    if (mode & ~7UL || S_ISLNK(found(&q)->mode))
        return FAST_DECLINE;
    r = lower_access(found(&q), engine.fs.read_only || !engine.fs.upper, (unsigned)mode);
    return r > 0 ? FAST_DECLINE : r;
}

static long
quick_readlink(int dirfd, unsigned long path, unsigned long buf, long size)
{
    struct quick q;
    size_t len;
    long r = size > 0 ? quick_find(&q, dirfd, path) : FAST_DECLINE;

    if (r)
        return r;
    if (!S_ISLNK(found(&q)->mode))
        return -EINVAL;
    len = found(&q)->link_len;
    if (len > (size_t)size)
        len = (size_t)size;
    r = user_put(buf, view_link(&engine.fs.view, found(&q)), len);
    return r ? r : (long)len;
}

/* The host path of what was found, into @host of OPEN_MAX bytes. */
static int
host_path(const struct quick *q, char *host)
{
    const struct uufs_string *layer = &engine.fs.layers[found(q)->layer];
    size_t len = 0;
    int err = str_append(host, OPEN_MAX, &len, engine.fs.strings + layer->off, layer->len);

    if (!err && q->base_len) {
        err = str_append(host, OPEN_MAX, &len, q->base, q->base_len);
        if (!err)
            err = str_append(host, OPEN_MAX, &len, "/", 1);
    }
    return err ? err : str_append(host, OPEN_MAX, &len, q->path, strlen(q->path));
}

/* A file or directory for reading. A directory that is not known yet is left to the handler, which
 * remembers it. */
static long
quick_open(int dirfd, unsigned long path, unsigned long flags)
{
    const unsigned long plain = O_CLOEXEC | O_LARGEFILE | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    char host[OPEN_MAX];
    struct quick q;
    long r = flags & ~plain ? FAST_DECLINE : quick_find(&q, dirfd, path);

    if (r)
        return r;
    if (!S_ISREG(found(&q)->mode) || found(&q)->layer >= engine.fs.n_layers || host_path(&q, host))
        return FAST_DECLINE;
    return sys4(SYS_openat, AT_FDCWD, host, flags | O_LARGEFILE, 0);
}

long
quick_call(long nr, const unsigned long *a)
{
    switch (nr) {
    case SYS_stat:
        return quick_stat(AT_FDCWD, a[0], true, a[1]);
    case SYS_lstat:
        return quick_stat(AT_FDCWD, a[0], false, a[1]);
    case SYS_newfstatat:
        if (a[3] & ~(unsigned long)(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT))
            return FAST_DECLINE;
        return quick_stat((int)a[0], a[1], !(a[3] & AT_SYMLINK_NOFOLLOW), a[2]);
    case SYS_access:
        return quick_access(AT_FDCWD, a[0], a[1]);
    case SYS_faccessat:
        return quick_access((int)a[0], a[1], a[2]);
    case SYS_readlink:
        return quick_readlink(AT_FDCWD, a[0], a[1], (int)a[2]);
    case SYS_readlinkat:
        return quick_readlink((int)a[0], a[1], a[2], (int)a[3]);
    case SYS_open:
        return quick_open(AT_FDCWD, a[0], a[1]);
    case SYS_openat:
        return quick_open((int)a[0], a[1], a[2]);
    }
    return FAST_DECLINE;
}
