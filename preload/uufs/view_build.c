/* The view builder: a tree in memory, filled name by name or merged from layer views, written
 * breadth first.
 *
 * Hosted code, used by import and by tests. It loops where others recurse, because the depth of a
 * tree is the archive's choice, and believes a layer view no more than view.c does. */
#include "view_build.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

struct item { /* a node of the tree; index 0 is the root */
    struct view_node node;
    char *name;
    char *link;
    uint32_t first, next, prev; /* children, siblings */
    uint32_t bucket_next;
    uint32_t hash;
    bool alive;
};

struct vb {
    struct item *items;
    uint32_t n, cap;
    uint32_t *buckets; /* (parent, name) -> item; a power of two */
    uint32_t n_buckets;
    struct view_layer *layers;
    uint32_t n_layers;
};

static uint32_t
bucket_of(const struct vb *vb, uint32_t parent, uint32_t hash)
{
    return (hash ^ parent * 2654435761u) & (vb->n_buckets - 1);
}

static int
rehash(struct vb *vb, uint32_t n_buckets)
{
    uint32_t *buckets = malloc(n_buckets * sizeof(*buckets));

    if (!buckets)
        return -ENOMEM;
    memset(buckets, 0xff, n_buckets * sizeof(*buckets));
    free(vb->buckets);
    vb->buckets = buckets;
    vb->n_buckets = n_buckets;
    for (uint32_t i = 1; i < vb->n; i++) {
        if (!vb->items[i].alive)
            continue;
        uint32_t b = bucket_of(vb, vb->items[i].node.parent, vb->items[i].hash);

        vb->items[i].bucket_next = buckets[b];
        buckets[b] = i;
    }
    return 0;
}

static int
new_item(struct vb *vb, uint32_t *index)
{
    if (vb->n == vb->cap) {
        uint32_t cap = vb->cap ? vb->cap * 2 : 1024;
        struct item *items =
            cap > vb->cap && cap < 1u << 31 ? realloc(vb->items, cap * sizeof(*items)) : NULL;

        if (!items)
            return -ENOMEM;
        vb->items = items;
        vb->cap = cap;
    }
    /* Before the item exists: rehash must not put it under the hash that it does not have yet. */
    if (vb->n >= vb->n_buckets) {
        int err = rehash(vb, vb->n_buckets ? vb->n_buckets * 2 : 1024);

        if (err)
            return err;
    }
    memset(&vb->items[vb->n], 0, sizeof(*vb->items));
    vb->items[vb->n].first = vb->items[vb->n].next = vb->items[vb->n].prev = VIEW_NONE;
    vb->items[vb->n].alive = true;
    *index = vb->n++;
    return 0;
}

static uint32_t
find(const struct vb *vb, uint32_t parent, const char *name, size_t len, uint32_t hash)
{
    uint32_t i = vb->buckets[bucket_of(vb, parent, hash)];

    for (; i != VIEW_NONE; i = vb->items[i].bucket_next) {
        const struct item *it = &vb->items[i];

        if (it->hash == hash && it->node.parent == parent && it->node.name_len == len &&
            !memcmp(it->name, name, len))
            return i;
    }
    return VIEW_NONE;
}

static char *
copy_bytes(const char *s, size_t len)
{
    char *copy = malloc(len + 1);

    if (copy) {
        memcpy(copy, s, len);
        copy[len] = '\0';
    }
    return copy;
}

static int
add_child(struct vb *vb, uint32_t parent, const char *name, size_t len, uint32_t hash,
          uint32_t *index)
{
    char *copy = copy_bytes(name, len);
    uint32_t i;
    int err = copy ? new_item(vb, &i) : -ENOMEM;

    if (err) {
        free(copy);
        return err;
    }
    struct item *it = &vb->items[i], *dir = &vb->items[parent];
    uint32_t b = bucket_of(vb, parent, hash);

    it->name = copy;
    it->hash = hash;
    it->node.parent = parent;
    it->node.name_len = (uint32_t)len;
    it->next = dir->first;
    if (dir->first != VIEW_NONE)
        vb->items[dir->first].prev = i;
    dir->first = i;
    it->bucket_next = vb->buckets[b];
    vb->buckets[b] = i;
    *index = i;
    return 0;
}

static void
unhash(struct vb *vb, uint32_t i)
{
    uint32_t *at = &vb->buckets[bucket_of(vb, vb->items[i].node.parent, vb->items[i].hash)];

    while (*at != i)
        at = &vb->items[*at].bucket_next;
    *at = vb->items[i].bucket_next;
}

static void
bury(struct vb *vb, uint32_t i)
{
    unhash(vb, i);
    vb->items[i].alive = false;
    free(vb->items[i].name);
    free(vb->items[i].link);
    vb->items[i].name = vb->items[i].link = NULL;
}

/* Drop everything below @top, without recursion: children move to the front of a work list made of
 * `next` links. */
static void
drop_children(struct vb *vb, uint32_t top)
{
    uint32_t work = vb->items[top].first;

    vb->items[top].first = VIEW_NONE;
    while (work != VIEW_NONE) {
        struct item *it = &vb->items[work];
        uint32_t next = it->next, child = it->first;

        it->first = VIEW_NONE;
        if (child != VIEW_NONE) {
            uint32_t last = child;

            while (vb->items[last].next != VIEW_NONE)
                last = vb->items[last].next;
            vb->items[last].next = next;
            next = child;
        }
        bury(vb, work);
        work = next;
    }
}

static void
drop(struct vb *vb, uint32_t i)
{
    struct item *it = &vb->items[i];

    drop_children(vb, i);
    if (it->prev != VIEW_NONE)
        vb->items[it->prev].next = it->next;
    else
        vb->items[it->node.parent].first = it->next;
    if (it->next != VIEW_NONE)
        vb->items[it->next].prev = it->prev;
    bury(vb, i);
}

static uint32_t
current_layer(const struct vb *vb)
{
    return vb->n_layers ? vb->n_layers - 1 : 0;
}

/* Whatever the name was: a directory now, with nothing known of it. */
static void
make_implicit(struct vb *vb, uint32_t i)
{
    struct item *it = &vb->items[i];

    free(it->link);
    it->link = NULL;
    it->node = (struct view_node){
        .parent = it->node.parent,
        .name_len = it->node.name_len,
        .mode = S_IFDIR | 0755,
        .tar_mode = S_IFDIR | 0755,
        .nlink = 1,
        .flags = VIEW_IMPLICIT,
        .layer = current_layer(vb),
    };
}

EXPORT struct vb *
vb_new(void)
{
    struct vb *vb = calloc(1, sizeof(*vb));
    uint32_t root;

    if (!vb)
        return NULL;
    if (new_item(vb, &root) || !(vb->items[root].name = copy_bytes("", 0))) {
        vb_free(vb);
        return NULL;
    }
    make_implicit(vb, root);
    return vb;
}

EXPORT void
vb_free(struct vb *vb)
{
    if (!vb)
        return;
    for (uint32_t i = 0; i < vb->n; i++) {
        free(vb->items[i].name);
        free(vb->items[i].link);
    }
    free(vb->items);
    free(vb->buckets);
    free(vb->layers);
    free(vb);
}

EXPORT int
vb_layer(struct vb *vb, const uint8_t diff_id[32], uint64_t root_ino)
{
    struct view_layer *layers = realloc(vb->layers, (vb->n_layers + 1) * sizeof(*layers));

    if (!layers)
        return -ENOMEM;
    vb->layers = layers;
    memcpy(layers[vb->n_layers].diff_id, diff_id, 32);
    layers[vb->n_layers++].root_ino = root_ino;
    return 0;
}

static bool
has_link(const struct vb_entry *e)
{
    return S_ISLNK(e->mode) && !(e->flags & VIEW_WHITEOUT);
}

/* A link needs a target that a kernel would take. */
static bool
link_ok(const struct vb_entry *e)
{
    return !has_link(e) || (e->link && e->link_len && e->link_len < LPMX_PATH_MAX &&
                            !memchr(e->link, '\0', e->link_len));
}

static int
set_entry(struct vb *vb, uint32_t i, const struct vb_entry *e)
{
    struct item *it = &vb->items[i];
    struct view_node *n = &it->node;
    char *link = NULL;

    if (has_link(e)) {
        link = copy_bytes(e->link, e->link_len);
        if (!link)
            return -ENOMEM;
    }
    free(it->link);
    it->link = link;
    n->link_len = link ? e->link_len : 0;
    n->mode = e->mode;
    n->tar_mode = e->tar_mode;
    n->tar_uid = e->tar_uid;
    n->tar_gid = e->tar_gid;
    n->nlink = e->nlink;
    n->flags = e->flags;
    n->rdev = e->rdev;
    n->uid = e->uid;
    n->gid = e->gid;
    n->mtime = e->mtime;
    n->mtime_ns = e->mtime_ns;
    n->ctime = e->ctime;
    n->ctime_ns = e->ctime_ns;
    n->size = e->size;
    n->ino = e->ino;
    n->blocks = e->blocks;
    n->layer = current_layer(vb);
    return 0;
}

static bool
clean_name(const char *name, size_t len)
{
    return len && len <= LPMX_NAME_MAX && !(len == 1 && name[0] == '.') &&
           !(len == 2 && name[0] == '.' && name[1] == '.') && !memchr(name, '\0', len) &&
           !memchr(name, '/', len);
}

static bool
clean_path(const char *path, size_t len)
{
    const char *end = path + len;

    while (len) {
        const char *slash = memchr(path, '/', (size_t)(end - path));

        if (!clean_name(path, (size_t)((slash ? slash : end) - path)))
            return false;
        if (!slash)
            return true;
        path = slash + 1;
    }
    return true;
}

static bool
is_dir(const struct view_node *n)
{
    return S_ISDIR(n->mode) && !(n->flags & VIEW_WHITEOUT);
}

/* The child of @dir for @name, made (as an implicit directory) when missing. */
static int
descend(struct vb *vb, uint32_t dir, const char *name, size_t len, uint32_t *child)
{
    uint32_t hash = view_hash(name, len), removed = vb->items[dir].node.flags & VIEW_WHITEOUT;
    int err;

    if (!is_dir(&vb->items[dir].node)) {
        make_implicit(vb, dir);
        if (removed)
            vb->items[dir].node.flags |= VIEW_OPAQUE;
    }
    *child = find(vb, dir, name, len, hash);
    if (*child != VIEW_NONE)
        return 0;
    err = add_child(vb, dir, name, len, hash, child);
    if (!err)
        make_implicit(vb, *child);
    return err;
}

/* What a layer says of one name in several entries: a whiteout removes what is below the layer and
 * never the layer's own, in whichever order they stand, so with a directory it makes an opaque one.
 */
static int
add_entry(struct vb *vb, uint32_t at, struct vb_entry e, bool fresh)
{
    uint32_t old = fresh ? 0 : vb->items[at].node.flags;
    bool was_dir = !fresh && is_dir(&vb->items[at].node);

    if (e.flags & VIEW_WHITEOUT) {
        if (was_dir)
            vb->items[at].node.flags |= VIEW_OPAQUE;
        if (!fresh)
            return 0;
    } else if (S_ISDIR(e.mode)) {
        if ((old & VIEW_WHITEOUT) || (was_dir && (old & VIEW_OPAQUE)))
            e.flags |= VIEW_OPAQUE;
    } else {
        drop_children(vb, at);
    }
    return set_entry(vb, at, &e);
}

EXPORT int
vb_add(struct vb *vb, const char *path, size_t path_len, const struct vb_entry *entry)
{
    uint32_t at = 0, before = vb->n;
    const char *end = path + path_len;
    int err = 0;

    if (!clean_path(path, path_len) || !link_ok(entry))
        return -EINVAL;
    if (!path_len && (!S_ISDIR(entry->mode) || entry->flags & VIEW_WHITEOUT))
        return -EINVAL;
    while (path < end && !err) {
        const char *slash = memchr(path, '/', (size_t)(end - path));
        const char *stop = slash ? slash : end;

        err = descend(vb, at, path, (size_t)(stop - path), &at);
        path = slash ? slash + 1 : end;
    }
    return err ? err : add_entry(vb, at, *entry, vb->n != before && at == vb->n - 1);
}

/* ---- the order of children ---- */

struct child {
    uint32_t item, hash;
    const char *name;
    uint32_t len;
};

static int
compare_children(const void *a, const void *b)
{
    const struct child *x = a, *y = b;
    uint32_t len = x->len < y->len ? x->len : y->len;
    int order;

    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    order = memcmp(x->name, y->name, len);
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

/* ---- merging ---- */

static void
entry_from_node(const struct view *v, const struct view_node *n, struct vb_entry *e)
{
    *e = (struct vb_entry){
        .mode = n->mode,
        .tar_mode = n->tar_mode,
        .tar_uid = n->tar_uid,
        .tar_gid = n->tar_gid,
        .nlink = n->nlink,
        .flags = n->flags & VIEW_IMPLICIT,
        .rdev = n->rdev,
        .uid = n->uid,
        .gid = n->gid,
        .mtime_ns = n->mtime_ns,
        .ctime_ns = n->ctime_ns,
        .mtime = n->mtime,
        .ctime = n->ctime,
        .size = n->size,
        .ino = n->ino,
        .blocks = n->blocks,
        .link = view_link(v, n),
        .link_len = n->link_len,
    };
}

/* A whiteout: the name goes from what the layers below made. */
static void
merge_whiteout(struct vb *vb, const struct view *v, const struct view_node *n, uint32_t dir)
{
    const char *name = view_name(v, n);
    uint32_t below = find(vb, dir, name, n->name_len, view_hash(name, n->name_len));

    if (below != VIEW_NONE)
        drop(vb, below);
}

/* One name of the layer over the tree; *target gets where its children go. Over a directory that
 * lower layers have, an implicit one (it is on disk, but not in the archive) changes nothing. */
static int
merge_node(struct vb *vb, const struct view *v, const struct view_node *n, uint32_t dir,
           uint32_t *target)
{
    const char *name = view_name(v, n);
    uint32_t hash = view_hash(name, n->name_len);
    uint32_t below = find(vb, dir, name, n->name_len, hash);
    struct vb_entry e;
    int err;

    entry_from_node(v, n, &e);
    if (!link_ok(&e))
        return -EBADMSG;
    if (below != VIEW_NONE && S_ISDIR(n->mode) && S_ISDIR(vb->items[below].node.mode)) {
        if (n->flags & VIEW_OPAQUE)
            drop_children(vb, below);
        *target = below;
        return n->flags & VIEW_IMPLICIT ? 0 : set_entry(vb, below, &e);
    }
    if (below != VIEW_NONE)
        drop(vb, below);
    err = add_child(vb, dir, name, n->name_len, hash, target);
    return err ? err : set_entry(vb, *target, &e);
}

/* Are the children of node @i where a view has them: behind it (which rules out cycles), claimed by
 * it, and each name clean and there once? */
static bool
children_ok(const struct view *v, uint32_t i)
{
    const struct view_node *n = &v->nodes[i];
    struct child last = {0}, next;

    if (n->first_child <= i || n->first_child >= v->n_nodes ||
        n->n_children > v->n_nodes - n->first_child)
        return false;
    for (uint32_t k = n->first_child; k < n->first_child + n->n_children; k++) {
        next.name = view_name(v, &v->nodes[k]);
        next.len = v->nodes[k].name_len;
        if (v->nodes[k].parent != i || !clean_name(next.name, next.len))
            return false;
        next.hash = view_hash(next.name, next.len);
        if (last.name && compare_children(&last, &next) >= 0)
            return false;
        last = next;
    }
    return true;
}

/* The children of layer node @i under tree directory @dir. */
static int
merge_children(struct vb *vb, const struct view *v, uint32_t i, uint32_t dir, uint32_t *targets)
{
    const struct view_node *n = &v->nodes[i];

    if (!n->n_children)
        return 0;
    if (!children_ok(v, i))
        return -EBADMSG;
    for (uint32_t k = n->first_child; k < n->first_child + n->n_children; k++) {
        int err = 0;

        if (v->nodes[k].flags & VIEW_WHITEOUT)
            merge_whiteout(vb, v, &v->nodes[k], dir);
        else
            err = merge_node(vb, v, &v->nodes[k], dir, &targets[k]);
        if (err)
            return err;
    }
    return 0;
}

/* The root of the layer: the tree always has one, so it is only ever a directory over a directory.
 */
static int
merge_root(struct vb *vb, const struct view *v)
{
    struct vb_entry e;

    if (v->nodes[0].flags & VIEW_OPAQUE)
        drop_children(vb, 0);
    if (v->nodes[0].flags & VIEW_IMPLICIT && vb->n_layers > 1)
        return 0;
    entry_from_node(v, &v->nodes[0], &e);
    return set_entry(vb, 0, &e);
}

EXPORT int
vb_merge(struct vb *vb, const void *map, uint64_t size)
{
    struct view v;
    uint32_t *targets;
    int err = view_open(&v, map, size);

    if (!err && v.n_layers != 1)
        err = -EBADMSG;
    if (err)
        return err;
    targets = malloc(v.n_nodes * sizeof(*targets));
    if (!targets)
        return -ENOMEM;
    memset(targets, 0xff, v.n_nodes * sizeof(*targets));
    targets[0] = 0;
    err = vb_layer(vb, v.layers[0].diff_id, v.layers[0].root_ino);
    if (!err)
        err = merge_root(vb, &v);
    for (uint32_t i = 0; i < v.n_nodes && !err; i++)
        if (targets[i] != VIEW_NONE && S_ISDIR(v.nodes[i].mode))
            err = merge_children(vb, &v, i, targets[i], targets);
    free(targets);
    return err;
}

/* ---- writing ---- */

struct output {
    uint32_t *order; /* node index -> item */
    struct view_node *nodes;
    uint32_t *hashes;
    char *bytes;
    uint64_t n_bytes;
    uint32_t n;
};

/* Number the tree breadth first, children sorted. */
static int
number_tree(struct vb *vb, struct output *o)
{
    struct child *children = NULL;
    uint32_t cap = 0;

    o->order[0] = 0;
    o->n = 1;
    for (uint32_t i = 0; i < o->n; i++) {
        struct item *dir = &vb->items[o->order[i]];
        uint32_t n = 0;

        for (uint32_t k = dir->first; k != VIEW_NONE; k = vb->items[k].next) {
            if (n == cap) {
                cap = cap ? cap * 2 : 256;
                struct child *more = realloc(children, cap * sizeof(*children));

                if (!more) {
                    free(children);
                    return -ENOMEM;
                }
                children = more;
            }
            children[n++] =
                (struct child){k, vb->items[k].hash, vb->items[k].name, vb->items[k].node.name_len};
        }
        if (n)
            qsort(children, n, sizeof(*children), compare_children);
        o->nodes[i].first_child = n ? o->n : 0;
        o->nodes[i].n_children = n;
        for (uint32_t k = 0; k < n; k++) {
            o->nodes[o->n].parent = i;
            o->order[o->n++] = children[k].item;
        }
    }
    free(children);
    return 0;
}

static uint32_t
put_bytes(struct output *o, const char *s, uint32_t len)
{
    uint32_t at = (uint32_t)o->n_bytes;

    memcpy(o->bytes + at, s, len);
    o->bytes[at + len] = '\0';
    o->n_bytes += len + 1;
    return at;
}

static void
fill_nodes(const struct vb *vb, struct output *o)
{
    for (uint32_t i = 0; i < o->n; i++) {
        const struct item *it = &vb->items[o->order[i]];
        struct view_node n = it->node;

        n.parent = o->nodes[i].parent;
        n.first_child = o->nodes[i].first_child;
        n.n_children = o->nodes[i].n_children;
        n.name = put_bytes(o, it->name, n.name_len);
        n.link = it->link ? put_bytes(o, it->link, n.link_len) : n.name + n.name_len;
        o->nodes[i] = n;
        o->hashes[i] = it->hash;
    }
}

static int
write_all(int fd, const void *data, uint64_t size)
{
    const char *p = data;

    while (size) {
        ssize_t n = write(fd, p, size);

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0)
            return -EIO;
        if (n > 0) {
            p += n;
            size -= (uint64_t)n;
        }
    }
    return 0;
}

static int
write_output(const struct vb *vb, const struct output *o, int fd, const uint8_t chain_id[32])
{
    static const char padding[8];
    struct view_header h = {.magic = VIEW_MAGIC, .version = VIEW_VERSION, .header_size = sizeof(h)};
    uint64_t layers_size = vb->n_layers * sizeof(struct view_layer), pad;
    int err;

    h.n_layers = vb->n_layers;
    h.n_nodes = o->n;
    h.layers = sizeof(h);
    h.nodes = h.layers + layers_size;
    h.hashes = h.nodes + o->n * sizeof(struct view_node);
    h.bytes = h.hashes + o->n * sizeof(uint32_t);
    pad = (8 - o->n_bytes % 8) % 8;
    h.bytes_size = o->n_bytes + pad;
    h.file_size = h.bytes + h.bytes_size;
    memcpy(h.chain_id, chain_id, sizeof(h.chain_id));
    err = write_all(fd, &h, sizeof(h));
    if (!err)
        err = write_all(fd, vb->layers, layers_size);
    if (!err)
        err = write_all(fd, o->nodes, o->n * sizeof(struct view_node));
    if (!err)
        err = write_all(fd, o->hashes, o->n * sizeof(uint32_t));
    if (!err)
        err = write_all(fd, o->bytes, o->n_bytes);
    return err ? err : write_all(fd, padding, pad);
}

static uint64_t
count_bytes(const struct vb *vb, uint64_t *alive)
{
    uint64_t total = 0;

    *alive = 0;
    for (uint32_t i = 0; i < vb->n; i++) {
        const struct item *it = &vb->items[i];

        if (!it->alive)
            continue;
        ++*alive;
        total += it->node.name_len + 1 + (it->link ? it->node.link_len + 1 : 0);
    }
    return total;
}

EXPORT int
vb_write(struct vb *vb, int fd, const uint8_t chain_id[32])
{
    struct output o = {0};
    uint64_t n, size = count_bytes(vb, &n);
    int err = -ENOMEM;

    if (size >= UINT32_MAX)
        return -EFBIG;
    o.order = malloc(n * sizeof(*o.order));
    o.nodes = calloc(n, sizeof(*o.nodes));
    o.hashes = malloc(n * sizeof(*o.hashes));
    o.bytes = malloc(size);
    if (o.order && o.nodes && o.hashes && o.bytes)
        err = number_tree(vb, &o);
    if (!err) {
        fill_nodes(vb, &o);
        err = write_output(vb, &o, fd, chain_id);
    }
    free(o.order);
    free(o.nodes);
    free(o.hashes);
    free(o.bytes);
    return err;
}
