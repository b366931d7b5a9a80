/* Which directories a call's paths count from, and whether they have become unreachable: see
 * anchored.h. */
#include "anchored.h"

#include "../../engine/engine.h"
#include "../../uufs/anchor.h"
#include "../../uufs/dirty.h"
#include "../../uufs/path.h"
#include "../../uufs/walk/fromhost.h"
#include "../../uufs/walk/walk.h"
#include "../program/perform.h"
#include "../program/usermem.h"
#include "../program/vfork.h"
#include "resolve.h"

#include <sys/stat.h>

/* Would "what shows of the layers" have to be asked of directories above that cannot be? */
static bool
is_ambiguous(const char *ctr, size_t len)
{
    const struct uufs *fs = &engine.fs;
    uint32_t node = 0;
    bool tree = false;

    for (size_t at = 0, end; at < len && node != VIEW_NONE; at = end) {
        for (end = at + 1; end < len && ctr[end] != '/'; end++)
            ;
        node = view_child(&fs->view, node, ctr + at + 1, end - at - 1);
        tree |= uufs_dirty_test_tree(fs, ctr, end);
        if (node != VIEW_NONE && end < len && (tree || uufs_dirty_test_opaque(fs, ctr, end)))
            return true;
    }
    return false;
}

/* The bind that holds @ctr: its index, or -1. */
static int
bind_around(const char *ctr, size_t len)
{
    const struct uufs *fs = &engine.fs;
    int best = -1;

    for (uint32_t i = 0; i < fs->n_binds; i++) {
        const struct uufs_bind *b = &fs->binds[i];
        const char *dst = fs->strings + b->dst;

        if (b->flags & UUFS_BIND_SEED || (best >= 0 && b->dst_len <= fs->binds[best].dst_len))
            continue;
        if (path_below(ctr, len, dst, b->dst_len) || (len == b->dst_len && !memcmp(ctr, dst, len)))
            best = (int)i;
    }
    return best;
}

/* Does no path lead to the directory @dirfd any more, but the descriptor does? */
static OWN_FRAME bool
prepare(struct uufs_anchor *a, int dirfd)
{
    const struct uufs *fs = &engine.fs;
    char host[LPMX_PATH_MAX];
    struct uufs_hit hit;
    struct stat st;
    long n;

    if (dirfd == AT_FDCWD)
        memcpy(a->link, "/proc/thread-self/cwd", 22);
    else
        proc_link_fd(dirfd, a->link);
    n = sys4(SYS_readlinkat, AT_FDCWD, a->link, host, sizeof(host) - 1);
    if (n <= 0 || host[0] != '/' || call_base(dirfd, a->ctr, sizeof(a->ctr)))
        return false;
    host[n] = '\0';
    n = (long)strlen(a->ctr);
    a->in_upper = uufs_below_upper(fs, host);
    a->bind = a->in_upper || uufs_host_is_lower(fs, host) ? -1 : bind_around(a->ctr, (size_t)n);
    if (a->bind < 0 && is_ambiguous(a->ctr, (size_t)n))
        return false;
    if (sys4(SYS_newfstatat, AT_FDCWD, host, &st, 0) != -EACCES &&
        uufs_walk(fs, "/", a->ctr, 0, &hit) != -EACCES)
        return false;
    a->len = n > 1 ? (uint32_t)n : 0;
    return a->len;
}

static bool
is_relative(unsigned long path)
{
    char first;

    return path && !user_copy(&first, path, 1) && first && first != '/';
}

/* The directories that @c's paths count from, -1: none. */
static void
find_bases(const struct call *c, int bases[ANCHORS])
{
    bases[0] = bases[1] = -1;
    if (c->row->path >= 0 && is_relative(c->a[c->row->path]))
        bases[0] = call_dirfd(c);
    switch (c->row->nr) {
    case SYS_getdents:
    case SYS_getdents64:
        bases[0] = (int)c->a[0];
        break;
    case SYS_bind:
    case SYS_connect:
    case SYS_sendto:
        bases[0] = AT_FDCWD;
        break;
    case SYS_rename:
    case SYS_link:
        bases[1] = is_relative(c->a[1]) ? AT_FDCWD : -1;
        break;
    case SYS_renameat:
    case SYS_renameat2:
    case SYS_linkat:
        bases[1] = is_relative(c->a[3]) ? (int)c->a[2] : -1;
        break;
    case SYS_execveat: /* the descriptor may be closed when the next image asks */
        bases[0] = bases[0] == AT_FDCWD ? AT_FDCWD : -1;
        break;
    }
    if (bases[1] == bases[0])
        bases[1] = -1;
}

COLD long
anchored_retry(struct call *c, long r)
{
    struct uufs_anchor *anchors;
    int bases[ANCHORS];
    bool any = false, lists = c->row->intent == INTENT_none && c->row->path < 0,
         executes = c->row->nr == SYS_execve || c->row->nr == SYS_execveat;

    find_bases(c, bases);
    if (bases[0] == -1 && bases[1] == -1)
        return r;
    if (executes && vfork_shares_memory() == 1) /* what it takes would stay behind */
        return r;
    anchors = anchors_take(&engine.fs);
    if (!anchors)
        return lists ? call_raw(c) : r;
    for (size_t i = 0; i < ANCHORS; i++)
        any |= bases[i] != -1 && prepare(&anchors[i], bases[i]);
    if (any || lists) /* a descriptor is listed by the kernel where all else fails */
        r = c->row->run(c);
    anchors_drop(&engine.fs);
    return r;
}
