/* The walk in the union: one component, looked up in the view and, where the dirty map says that
 * something may be, in the upper. */
#include "walkunion.h"

#include "../anchor.h"
#include "../dirty.h"
#include "../whiteout.h"
#include "walkhost.h"

#include <sys/stat.h>

HOT_FILE;

/* What the upper has at hit->ctr: 1 a name (type set), 0 nothing, -ENOENT a whiteout of a lower
 * name. */
static int
probe_upper(struct walk *w, bool lower_has)
{
    const struct uufs *fs = w->fs;
    struct uufs_hit *hit = w->hit;
    struct stat st;
    long r;
    int err;

    if (!fs->upper || w->upper_depth + 1 != w->depth)
        return 0;
    if (fs->upper_len + hit->ctr_len >= sizeof(hit->host)) /* no mark tells of what is there */
        return -ENAMETOOLONG;
    if (!w->tree_depth && uufs_dirty_test_tree(fs, hit->ctr, hit->ctr_len))
        w->tree_depth = w->depth;
    if (!w->tree_depth && !uufs_dirty_test(fs, hit->ctr, hit->ctr_len))
        return 0;
    err = hit_in_upper(fs, hit);
    if (err)
        return err;
    r = sys4(SYS_newfstatat, AT_FDCWD, hit->host, &st, AT_SYMLINK_NOFOLLOW);
    if (r == -EACCES && fs->anchored && w->how & (UUFS_CANONICAL | UUFS_PLAIN) &&
        anchors_prove(fs, hit->ctr, hit->ctr_len)) {
        hit->type = S_IFDIR;
        return 1;
    }
    if (r == 0) {
        hit->type = st.st_mode & S_IFMT;
        return 1;
    }
    if (r != -ENOENT)
        return (int)r;
    if (!lower_has)
        return 0;
    err = whiteout_test(fs, hit->ctr, hit->ctr_len);
    return err > 0 ? -ENOENT : err;
}

/* The name is in the upper: does it merge with the lower directory @child? */
static int
take_upper(struct walk *w, uint32_t child)
{
    struct uufs_hit *hit = w->hit;
    const struct view_node *n = view_node(&w->fs->view, child);

    hit->where = UUFS_UPPER;
    w->upper_depth = w->depth;
    if (hit->type != S_IFDIR || !n || !S_ISDIR(n->mode))
        return 0;
    int opaque = 0;

    if (w->tree_depth || uufs_dirty_test_opaque(w->fs, hit->ctr, hit->ctr_len))
        opaque = opaque_test(w->fs, hit->ctr, hit->ctr_len);
    if (opaque < 0)
        return opaque;
    if (!opaque) {
        w->node = child;
        w->node_depth = w->depth;
    }
    return 0;
}

int
walk_in_union(struct walk *w, const char *name, size_t len, bool last, int seed)
{
    const struct uufs *fs = w->fs;
    struct uufs_hit *hit = w->hit;
    uint32_t parent = w->node_depth == w->depth - 1 ? w->node : VIEW_NONE;
    uint32_t child = parent == VIEW_NONE ? VIEW_NONE : view_child(&fs->view, parent, name, len);
    int r;

    hit->lower_name = child != VIEW_NONE;
    hit->magic = false;
    hit->type = 0;
    r = probe_upper(w, child != VIEW_NONE || seed >= 0);
    if (r > 0)
        return take_upper(w, child);
    if (r == 0 && seed >= 0) {
        hit->where = UUFS_LOWER;
        hit->type = S_IFREG;
        hit->lower_name = true;
        return hit_compose(hit, uufs_text(fs, fs->binds[seed].src), fs->binds[seed].src_len, "", 0);
    }
    if (r == 0 && child != VIEW_NONE) {
        hit->where = UUFS_LOWER;
        hit->type = fs->view.nodes[child].mode & S_IFMT;
        w->node = child;
        w->node_depth = w->depth;
        return 0;
    }
    if (r != 0 && r != -ENOENT)
        return r;
    if (!last || !(w->how & UUFS_MISSING))
        return -ENOENT;
    hit->where = UUFS_ABSENT;
    return 0;
}

long
walk_read_link(struct walk *w, const char **target)
{
    const struct view_node *n = view_node(&w->fs->view, w->node);

    if (w->hit->where == UUFS_LOWER && n) {
        *target = view_link(&w->fs->view, n);
        if (n->link_len >= LPMX_PATH_MAX)
            return -ENAMETOOLONG;
        return n->link_len ? (long)n->link_len : -ENOENT;
    }
    *target = w->target;
    return sys4(SYS_readlinkat, AT_FDCWD, w->hit->host, w->target, sizeof(w->target) - 1);
}
