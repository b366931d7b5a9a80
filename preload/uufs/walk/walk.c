/* The path walk: from a container path to what holds it.
 *
 * One component at a time, as the kernel does it: `..` is the directory's parent, a symlink is read
 * where it lies and followed inside the container. Lower names are looked up in the view, in
 * memory; the upper is probed only where its dirty map says something may be; below a bind each
 * component is read on the host. What it is not: permission checks (the kernel makes them on the
 * host path) and changes (create.c, remove.c, rename.c). */
#include "walk.h"

#include "../../base/str.h"
#include "../bind.h"
#include "../dirty.h"
#include "../path.h"
#include "alias.h"
#include "walkbind.h"
#include "walkcache.h"
#include "walkhost.h"
#include "walkunion.h"

#include <sys/stat.h>

HOT_FILE;

static void
walk_reset(struct walk *w)
{
    struct uufs_hit *hit = w->hit;

    hit->ctr[0] = '\0';
    hit->ctr_len = 0;
    hit->bind = -1;
    w->depth = w->bind_depth = w->id_depth = w->tree_depth = 0;
    w->node = 0;
    w->node_depth = 0;
    w->upper_depth = 0;
    hit->where = w->fs->upper ? UUFS_UPPER : UUFS_LOWER;
    hit->type = S_IFDIR;
    hit->lower_name = true;
    hit->must_be_dir = true; /* as "/" itself; every component says it anew */
    hit->magic = false;
}

/* Put @prefix in front of what is left to walk. */
static int
push_pending(struct walk *w, const char *prefix, size_t len)
{
    size_t rest_len = strlen(w->rest);
    char *end = w->pending + sizeof(w->pending);
    char *at;

    if (len + rest_len + 2 > sizeof(w->pending))
        return -ENAMETOOLONG;
    at = end - rest_len - 1;
    memmove(at, w->rest, rest_len + 1);
    if (rest_len) /* a slash at the end would mean something */
        *--at = '/';
    at -= len;
    memmove(at, prefix, len);
    w->rest = at;
    return 0;
}

/* "/" of the path that is left to walk. */
static int
enter_root(struct walk *w)
{
    walk_reset(w);
    w->way_len = w->root ? strlen(w->rest) : NO_ROOT_WAY;
    return w->root ? push_pending(w, w->root, strlen(w->root)) : 0;
}

static bool
at_root(const struct walk *w)
{
    return w->root && strlen(w->root) == w->hit->ctr_len &&
           !memcmp(w->root, w->hit->ctr, w->hit->ctr_len);
}

static int
append_component(struct uufs_hit *hit, const char *name, size_t len)
{
    if (len > LPMX_NAME_MAX)
        return -ENAMETOOLONG;
    if (hit->ctr_len + len + 2 > sizeof(hit->ctr))
        return -ENAMETOOLONG;
    hit->ctr[hit->ctr_len] = '/';
    memcpy(hit->ctr + hit->ctr_len + 1, name, len);
    hit->ctr_len += (uint32_t)len + 1;
    hit->ctr[hit->ctr_len] = '\0';
    return 0;
}

/* ---- places ---- */

/* Begin in the directory that the first @len bytes of @path name, if that is a remembered place. */
static bool
resume(struct walk *w, const char *path, size_t len)
{
    struct uufs_hit *hit = w->hit;
    struct uufs_place place;

    if (!w->moves || len <= 1 || w->how & UUFS_GUARDED ||
        !walkcache_find(w->fs, path, len, w->moves, &place))
        return false;
    memcpy(hit->ctr, path, len);
    hit->ctr[len] = '\0';
    hit->ctr_len = (uint32_t)len;
    w->depth = w->place_depth = place.depth;
    w->node = place.node;
    w->node_depth = place.node_depth;
    w->upper_depth = place.upper_depth;
    w->tree_depth = place.tree_depth;
    hit->where = place.bare_len ? UUFS_LOWER : UUFS_UPPER;
    hit->lower_name = walk_shows_node(w);
    w->rest = path + len;
    return true;
}

/* The absolute path that is left to walk: begin in the directory of its last name. */
static void
resume_above(struct walk *w)
{
    size_t len = strlen(w->rest);

    if (w->moves && len && w->rest[len - 1] != '/') {
        while (w->rest[len - 1] != '/')
            len--;
        resume(w, w->rest, len - 1);
    }
}

/* Bytes of the path down to the first component that the upper has not. */
static uint32_t
bare_len(const struct walk *w)
{
    const char *p = w->hit->ctr;

    for (uint32_t depth = 0; depth <= w->upper_depth; depth++)
        p = path_skip(p + 1);
    return (uint32_t)(p - w->hit->ctr);
}

/* A name is about to be looked up in the directory where the walk stands. */
static void
remember(struct walk *w)
{
    const struct uufs_hit *hit = w->hit;
    struct uufs_place place = {w->moves,       w->depth,      w->node, w->node_depth,
                               w->upper_depth, w->tree_depth, 0};

    if (!w->moves || hit->type != S_IFDIR || hit->bind >= 0 || !w->upper_depth ||
        w->depth <= w->place_depth || w->how & UUFS_PLAIN)
        return;
    if (w->upper_depth < w->depth) {
        place.bare_len = bare_len(w);
        if (w->tree_depth || uufs_dirty_test(w->fs, hit->ctr, place.bare_len) ||
            uufs_dirty_test_tree(w->fs, hit->ctr, place.bare_len))
            return;
    }
    walkcache_put(w->fs, hit->ctr, hit->ctr_len, &place);
}

/* ---- one component ---- */

static void
pop_component(struct walk *w)
{
    struct uufs_hit *hit = w->hit;

    if (!w->depth)
        return;
    while (hit->ctr_len && hit->ctr[hit->ctr_len - 1] != '/')
        hit->ctr_len--;
    hit->ctr[--hit->ctr_len] = '\0';
    w->depth--;
    hit->type = S_IFDIR;
    hit->magic = false;
    if (w->tree_depth > w->depth)
        w->tree_depth = 0;
    if (w->id_depth > w->depth)
        w->id_depth = 0;
    if (w->upper_depth > w->depth)
        w->upper_depth = w->depth;
    if (w->node_depth > w->depth) {
        const struct view_node *n = view_node(&w->fs->view, w->node);

        w->node = n ? n->parent : VIEW_NONE;
        w->node_depth = w->depth;
    }
    hit->where = hit->bind >= 0                               ? UUFS_BIND
                 : w->fs->upper && w->upper_depth == w->depth ? UUFS_UPPER
                                                              : UUFS_LOWER;
    hit->lower_name = walk_shows_node(w);
}

/* `..`: leaving a bind means walking its parent again, which may be the union or an outer bind. */
static int
step_up(struct walk *w)
{
    bool leaves_bind = w->hit->bind >= 0 && w->depth == w->bind_depth;

    w->has_root = true;
    if (at_root(w) || !w->depth)
        return w->how & UUFS_BENEATH ? -EXDEV : 0;
    pop_component(w);
    if (!leaves_bind)
        return w->hit->bind >= 0 ? hit_in_bind(w->fs, w->hit) : 0;
    memcpy(w->target, w->hit->ctr, w->hit->ctr_len + 1);
    size_t len = w->hit->ctr_len;

    walk_reset(w);
    return push_pending(w, w->target, len);
}

static int
follow_link(struct walk *w, const char *target, long len)
{
    if (++w->links > MAX_LINKS || w->how & UUFS_NO_SYMLINKS)
        return -ELOOP;
    if (target[0] == '/' &&
        (w->how & UUFS_BENEATH || (w->how & UUFS_NO_XDEV && !w->has_root))) /* so does the kernel */
        return -EXDEV;
    int err = push_pending(w, target, (size_t)len);

    if (err)
        return err;
    if (target[0] == '/' && !w->hit->magic) {
        err = enter_root(w);
        if (!w->root)
            resume_above(w);
        return err;
    }
    if (target[0] == '/') {
        walk_reset(w); /* the kernel's own link */
        return 0;
    }
    pop_component(w); /* a relative target counts from the link's directory */
    return 0;
}

static int
step_down(struct walk *w, const char *name, size_t len, bool last, bool trailing)
{
    struct uufs_hit *hit = w->hit;
    bool follow = !last || (trailing ? !(w->how & UUFS_LAST) : w->how & UUFS_FOLLOW);
    const char *target;
    int bind = -1;
    long r;

    if (hit->type && hit->type != S_IFDIR)
        return -ENOTDIR;
    r = append_component(hit, name, len);
    if (r)
        return (int)r;
    w->depth++;
    if (!(w->how & UUFS_PLAIN))
        bind = uufs_bind_at(w->fs, hit->ctr, hit->ctr_len);
    if (bind >= 0 && !(w->fs->binds[bind].flags & UUFS_BIND_SEED))
        return walk_enter_bind(w, bind);
    if (hit->bind >= 0) {
        unsigned how = w->how;

        if (len == ALIAS_ID_LEN && !w->id_depth)
            w->id_depth = w->depth;
        if (follow)
            w->how |= UUFS_FOLLOW;
        r = walk_in_bind(w, last);
        w->how = how;
        return r > 0 ? follow_link(w, w->target, r) : (int)r;
    }
    r = walk_in_union(w, name, len, last, bind);
    if (r)
        return (int)r;
    if (hit->where == UUFS_ABSENT || hit->type != S_IFLNK || !follow || (w->how & UUFS_PLAIN))
        return 0;
    r = walk_read_link(w, &target);
    return r < 0 ? (int)r : follow_link(w, target, r);
}

/* Fill in what the last step left open. */
static int
walk_finish(struct walk *w)
{
    const struct uufs *fs = w->fs;
    struct uufs_hit *hit = w->hit;
    int err;

    hit->in_union = hit->bind < 0;
    hit->node =
        hit->in_union && walk_shows_node(w) && hit->where != UUFS_ABSENT ? w->node : VIEW_NONE;
    if (hit->where == UUFS_UPPER && hit->type != S_IFDIR)
        hit->node = VIEW_NONE;
    hit->read_only = fs->read_only || !fs->upper;
    if (!hit->in_union) {
        err = walk_finish_in_bind(w);
    } else if (hit->where == UUFS_LOWER) {
        err = hit->node == VIEW_NONE ? 0 /* a seed: its host path is set */
                                     : hit_in_layer(fs, hit, hit->node);
    } else {
        err = hit_in_upper(fs, hit);
    }
    if (err)
        return err;
    if (hit->must_be_dir && !(w->how & UUFS_LAST) && hit->in_union && hit->where != UUFS_ABSENT &&
        hit->type != S_IFDIR)
        return -ENOTDIR;
    if (!hit->ctr_len)
        memcpy(hit->ctr, "/", 2), hit->ctr_len = 1;
    return 0;
}

/* May names be looked up in the directory where the walk stands? */
static int
search(struct walk *w)
{
    struct uufs_hit *hit = w->hit;
    const struct view_node *n = hit->where == UUFS_LOWER ? view_node(&w->fs->view, w->node) : NULL;
    int err;

    if (hit->bind >= 0) /* the kernel will say */
        return 0;
    err = n ? 0 : hit_in_upper(w->fs, hit);
    return err ? err : w->fs->may_search(n, hit->host);
}

/* Would the kernel look up the name @name of @len bytes in the directory where the walk stands? It
 * is asked where nobody else will ask it: of "." and "..", which are no names here, and of names in
 * a directory that may be closed, since what is not there is known without the disk. */
COLD static int
ask(struct walk *w)
{
    struct uufs_hit *hit = w->hit;
    size_t len = 0;
    struct stat st;
    int err;

    if (hit->bind >= 0)
        err = hit_in_bind(w->fs, hit);
    else
        err = hit->where == UUFS_LOWER && walk_shows_node(w) ? hit_in_layer(w->fs, hit, w->node)
                                                             : hit_in_upper(w->fs, hit);
    len = hit->host_len;
    if (!err)
        err = str_append(hit->host, sizeof(hit->host), &len, "/.", 2);
    return err ? err : (int)sys4(SYS_newfstatat, AT_FDCWD, hit->host, &st, 0);
}

static bool
is_to_be_asked(const struct walk *w, bool dots, bool up, bool last)
{
    const struct uufs_hit *hit = w->hit;
    const struct view_node *n;

    if (hit->bind >= 0)
        return dots && (up || last);
    if (hit->where == UUFS_UPPER)
        return uufs_dirty_has_closed(w->fs) || (dots && !w->fs->dirty);
    n = walk_shows_node(w) ? &w->fs->view.nodes[w->node] : NULL;
    return n && !(n->mode & S_IXUSR);
}

static int
walk_all(struct walk *w)
{
    struct uufs_hit *hit = w->hit;

    for (;;) {
        const char *name = w->rest, *end;
        bool last, on_way;
        int err;

        while (*name == '/')
            name++;
        on_way = w->way_len != NO_ROOT_WAY && strlen(name) > w->way_len;
        if (w->how & UUFS_NO_XDEV && !on_way) {
            err = walk_check_mount(w);
            if (err)
                return err;
        }
        if (!*name)
            return 0;
        end = path_skip(name);
        size_t len = (size_t)(end - name);
        const char *after = end;

        while (*after == '/')
            after++;
        last = !*after;
        w->rest = end;
        if (hit->where == UUFS_ABSENT)
            return -ENOENT;
        bool dots = name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.'));

        hit->must_be_dir = dots || after > end;
        if (dots && hit->type && hit->type != S_IFDIR)
            return -ENOTDIR;
        if (w->how & UUFS_GUARDED && !on_way && (!hit->type || hit->type == S_IFDIR)) {
            err = search(w);
            if (err)
                return err;
        }
        if (w->how & UUFS_ASKED && !on_way && (!hit->type || hit->type == S_IFDIR) &&
            is_to_be_asked(w, dots, len == 2, last)) {
            err = ask(w);
            if (err)
                return err;
        }
        if (dots && len == 1)
            continue;
        if (dots) {
            err = step_up(w);
        } else {
            if (last)
                remember(w);
            err = step_down(w, name, len, last, last && after > end);
        }
        if (err)
            return err;
    }
}

static int
walk_base(struct walk *w, const char *base)
{
    if (resume(w, base, strlen(base)))
        return 0;
    w->rest = base;
    return walk_all(w);
}

static void
walk_begin(struct walk *w, const struct uufs *fs, unsigned how, struct uufs_hit *hit)
{
    w->fs = fs;
    w->hit = hit;
    w->links = 0;
    w->how = how;
    w->moves = fs->places ? uufs_moves(fs) : 0;
    w->place_depth = 0;
    w->way_len = NO_ROOT_WAY;
    w->mount = NO_MOUNT_YET;
    walk_reset(w);
}

/* Did a walk that must not leave @base stay there? Somebody may move what is on the way. */
static bool
is_inside(const struct uufs_hit *hit, const char *base)
{
    size_t len = strlen(base);

    return len <= 1 || (hit->ctr_len == len && !memcmp(hit->ctr, base, len)) ||
           path_below(hit->ctr, hit->ctr_len, base, len);
}

int
uufs_walk(const struct uufs *fs, const char *base, const char *path, unsigned how,
          struct uufs_hit *hit)
{
    struct walk w;
    bool from_base = path[0] != '/' || how & UUFS_IN_ROOT;
    int err;

    if (!*path)
        return -ENOENT;
    if (how & UUFS_BENEATH && path[0] == '/')
        return -EXDEV;
    walk_begin(&w, fs, how, hit);
    w.root = how & UUFS_SCOPED ? base : how & UUFS_ROOTED && fs->root ? fs->root() : NULL;
    if (from_base && base[0] && base[1]) {
        w.how = UUFS_LAST | UUFS_CANONICAL;
        err = walk_base(&w, base);
        if (err)
            return err;
        w.how = how;
    }
    w.rest = path;
    w.has_root = path[0] == '/' || how & UUFS_SCOPED;
    err = !from_base && w.root ? enter_root(&w) : 0;
    if (!from_base && !w.root)
        resume_above(&w);
    if (!err)
        err = walk_all(&w);
    if (!err)
        err = walk_finish(&w);
    return !err && how & UUFS_SCOPED && !is_inside(hit, base) ? -EAGAIN : err;
}

int
uufs_lookup(const struct uufs *fs, const char *ctr, unsigned how, struct uufs_hit *hit)
{
    return uufs_walk(fs, "/", ctr, (how & UUFS_MISSING) | UUFS_PLAIN | UUFS_LAST, hit);
}
