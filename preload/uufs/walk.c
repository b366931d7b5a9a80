/* The path walk: from a container path to what holds it.
 *
 * One component at a time, as the kernel does it: `..` is the directory's parent, a symlink is read
 * where it lies and followed inside the container. Lower names are looked up in the view, in
 * memory; the upper is probed only where its dirty map says something may be; below a bind each
 * component is read on the host. What it is not: permission checks (the kernel makes them on the
 * host path) and changes (change.c). */
#include "path.h"
#include "places.h"
#include "proclink.h"
#include "uufs.h"

#include <sys/stat.h>

#define MAX_LINKS 40 /* as the kernel's MAXSYMLINKS */

/* Where the walk stands: the directory hit->ctr. The union's facts about it are kept as depths, so
 * that `..` is a decrement: the view node belongs to the first node_depth components, the upper has
 * the first upper_depth. */
struct walk {
    const struct uufs *fs;
    struct uufs_hit *hit;
    unsigned how;
    unsigned links;
    uint32_t depth;
    uint32_t node, node_depth;
    uint32_t upper_depth;
    uint32_t tree_depth; /* depth from which everything may be in the upper; 0: nowhere */
    uint32_t bind_depth;
    uint32_t place_depth;            /* what is above is remembered already */
    uint64_t moves;                  /* see places.h; 0: remember nothing */
    const char *root;                /* the process's own, see UUFS_ROOTED; NULL: "/" */
    const char *rest;                /* what is still to be walked */
    char target[LPMX_PATH_MAX];      /* a symlink's target as just read */
    char pending[2 * LPMX_PATH_MAX]; /* rest lives at its end once a symlink was met */
};

static const char *
string_at(const struct uufs *fs, uint32_t off)
{
    return fs->strings + off;
}

static bool
node_visible(const struct walk *w)
{
    return w->node != VIEW_NONE && w->node_depth == w->depth;
}

static void
walk_reset(struct walk *w)
{
    struct uufs_hit *hit = w->hit;

    hit->ctr[0] = '\0';
    hit->ctr_len = 0;
    hit->bind = -1;
    w->depth = w->bind_depth = w->tree_depth = 0;
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

static int
compose_host(struct uufs_hit *hit, const char *prefix, size_t prefix_len, const char *tail,
             size_t tail_len)
{
    size_t len = 0;
    int err = str_append(hit->host, sizeof(hit->host), &len, prefix, prefix_len);

    if (!err)
        err = str_append(hit->host, sizeof(hit->host), &len, tail, tail_len);
    hit->host_len = (uint32_t)len;
    return err;
}

static int
host_in_upper(const struct uufs *fs, struct uufs_hit *hit)
{
    return compose_host(hit, fs->upper ? fs->upper : "", fs->upper_len, hit->ctr, hit->ctr_len);
}

static int
host_in_layer(const struct uufs *fs, struct uufs_hit *hit, uint32_t node)
{
    const struct view_node *n = view_node(&fs->view, node);

    if (!n || n->layer >= fs->n_layers)
        return -EIO;
    return compose_host(hit, string_at(fs, fs->layers[n->layer].off), fs->layers[n->layer].len,
                        hit->ctr, hit->ctr_len);
}

static int
host_in_bind(const struct uufs *fs, struct uufs_hit *hit)
{
    const struct uufs_bind *b = &fs->binds[hit->bind];
    const char *src = string_at(fs, b->src);
    size_t src_len = b->src_len;

    if (hit->ctr_len > b->dst_len && src_len == 1 && src[0] == '/')
        src_len = 0;
    return compose_host(hit, src, src_len, hit->ctr + b->dst_len, hit->ctr_len - b->dst_len);
}

/* ---- /proc ---- */

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

/* ---- places ---- */

/* Begin in the directory that the first @len bytes of @path name, if that is a remembered place. */
static bool
resume(struct walk *w, const char *path, size_t len)
{
    struct uufs_hit *hit = w->hit;
    struct uufs_place place;

    if (!w->moves || len <= 1 || w->how & UUFS_GUARDED ||
        !place_find(w->fs, path, len, w->moves, &place))
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
    hit->lower_name = node_visible(w);
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
    place_put(w->fs, hit->ctr, hit->ctr_len, &place);
}

/* ---- one component ---- */

static int
enter_bind(struct walk *w, int bind)
{
    struct uufs_hit *hit = w->hit;

    hit->bind = bind;
    hit->where = UUFS_BIND;
    hit->type = w->fs->binds[bind].flags & UUFS_BIND_FILE ? 0 : S_IFDIR;
    hit->lower_name = false;
    hit->magic = false;
    w->bind_depth = w->depth;
    return host_in_bind(w->fs, hit);
}

/* A component below a bind. 1: it is a symlink to follow, its target is in w->target. */
static long
step_in_bind(struct walk *w, bool last)
{
    const struct uufs *fs = w->fs;
    struct uufs_hit *hit = w->hit;
    const struct uufs_bind *b = &fs->binds[hit->bind];
    bool follow = !last || (w->how & UUFS_FOLLOW);
    struct stat st;
    long r;
    int err = host_in_bind(fs, hit);

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
    if (b->flags & UUFS_BIND_PROC) {
        enum proc_link kind = proc_link_kind(hit->ctr + b->dst_len);

        hit->magic = kind != PROC_PLAIN;
        if (!hit->magic || !follow || (kind == PROC_FD && last))
            return 0;
        return proc_link_target(w, kind);
    }
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
    err = host_in_upper(fs, hit);
    if (err)
        return err;
    r = sys4(SYS_newfstatat, AT_FDCWD, hit->host, &st, AT_SYMLINK_NOFOLLOW);
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

static int
step_in_union(struct walk *w, const char *name, size_t len, bool last, int seed)
{
    const struct uufs *fs = w->fs;
    struct uufs_hit *hit = w->hit;
    uint32_t parent = w->node_depth == w->depth - 1 ? w->node : VIEW_NONE;
    uint32_t child = parent == VIEW_NONE ? VIEW_NONE : view_child(&fs->view, parent, name, len);
    int r;

    hit->lower_name = child != VIEW_NONE;
    hit->magic = false;
    hit->type = 0;
    if (whiteout_is(name, len)) {
        hit->lower_name = false;
        child = VIEW_NONE;
        r = -ENOENT;
    } else {
        r = probe_upper(w, child != VIEW_NONE || seed >= 0);
    }
    if (r > 0)
        return take_upper(w, child);
    if (r == 0 && seed >= 0) {
        hit->where = UUFS_LOWER;
        hit->type = S_IFREG;
        hit->lower_name = true;
        return compose_host(hit, string_at(fs, fs->binds[seed].src), fs->binds[seed].src_len, "",
                            0);
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

/* The target of the symlink the walk stands on, at *target; its length or -errno. */
static long
read_union_link(struct walk *w, const char **target)
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
    hit->lower_name = node_visible(w);
}

/* `..`: leaving a bind means walking its parent again, which may be the union or an outer bind. */
static int
step_up(struct walk *w)
{
    bool leaves_bind = w->hit->bind >= 0 && w->depth == w->bind_depth;

    if (at_root(w))
        return 0;
    pop_component(w);
    if (!leaves_bind)
        return w->hit->bind >= 0 ? host_in_bind(w->fs, w->hit) : 0;
    memcpy(w->target, w->hit->ctr, w->hit->ctr_len + 1);
    size_t len = w->hit->ctr_len;

    walk_reset(w);
    return push_pending(w, w->target, len);
}

static int
follow_link(struct walk *w, const char *target, long len)
{
    if (++w->links > MAX_LINKS)
        return -ELOOP;
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
        return enter_bind(w, bind);
    if (hit->bind >= 0) {
        unsigned how = w->how;

        if (follow)
            w->how |= UUFS_FOLLOW;
        r = step_in_bind(w, last);
        w->how = how;
        return r > 0 ? follow_link(w, w->target, r) : (int)r;
    }
    r = step_in_union(w, name, len, last, bind);
    if (r)
        return (int)r;
    if (hit->where == UUFS_ABSENT || hit->type != S_IFLNK || !follow || (w->how & UUFS_PLAIN))
        return 0;
    r = read_union_link(w, &target);
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
    hit->node = hit->in_union && node_visible(w) && hit->where != UUFS_ABSENT ? w->node : VIEW_NONE;
    if (hit->where == UUFS_UPPER && hit->type != S_IFDIR)
        hit->node = VIEW_NONE;
    hit->read_only = hit->in_union ? fs->read_only || !fs->upper
                                   : (fs->binds[hit->bind].flags & UUFS_BIND_RO) != 0;
    if (!hit->in_union) {
        err = host_in_bind(fs, hit);
        if (!err && hit->must_be_dir && hit->where == UUFS_BIND && hit->type != S_IFDIR) {
            size_t len = hit->host_len;

            err = str_append(hit->host, sizeof(hit->host), &len, "/", 1);
            hit->host_len = (uint32_t)len;
        }
    } else if (hit->where == UUFS_LOWER) {
        err = hit->node == VIEW_NONE ? 0 /* a seed: its host path is set */
                                     : host_in_layer(fs, hit, hit->node);
    } else {
        err = host_in_upper(fs, hit);
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
    err = n ? 0 : host_in_upper(w->fs, hit);
    return err ? err : w->fs->may_search(n, hit->host);
}

static int
walk_all(struct walk *w)
{
    struct uufs_hit *hit = w->hit;

    for (;;) {
        const char *name = w->rest, *end;
        bool last;
        int err;

        while (*name == '/')
            name++;
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
        if (w->how & UUFS_GUARDED && (!hit->type || hit->type == S_IFDIR)) {
            err = search(w);
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

int
uufs_walk(const struct uufs *fs, const char *base, const char *path, unsigned how,
          struct uufs_hit *hit)
{
    struct walk w;
    int err;

    if (!*path)
        return -ENOENT;
    w.fs = fs;
    w.hit = hit;
    w.links = 0;
    w.how = how;
    w.root = how & UUFS_ROOTED && fs->root ? fs->root() : NULL;
    w.moves = fs->places ? uufs_moves(fs) : 0;
    w.place_depth = 0;
    walk_reset(&w);
    if (path[0] != '/' && base[0] && base[1]) {
        w.how = UUFS_LAST | UUFS_CANONICAL;
        err = walk_base(&w, base);
        if (err)
            return err;
        w.how = how;
    }
    w.rest = path;
    err = path[0] == '/' && w.root ? enter_root(&w) : 0;
    if (path[0] == '/' && !w.root)
        resume_above(&w);
    if (!err)
        err = walk_all(&w);
    return err ? err : walk_finish(&w);
}

int
uufs_lookup(const struct uufs *fs, const char *ctr, unsigned how, struct uufs_hit *hit)
{
    return uufs_walk(fs, "/", ctr, (how & UUFS_MISSING) | UUFS_PLAIN | UUFS_LAST, hit);
}
