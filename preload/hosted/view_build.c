/* The view builder's tree: filled name by name here, or from layer views (view_merge.c);
 * view_write.c makes the file of it.
 *
 * Hosted code, used by import and by tests. It loops where others recurse, because the depth of a
 * tree is the archive's choice, and believes a layer view no more than view.c does. */
#include "view_build.h"

#include "../base/libc.h"
#include "view_tree.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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

uint32_t
tree_find(const struct vb *vb, uint32_t parent, const char *name, size_t len, uint32_t hash)
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

#define NAMES_SIZE (1U << 20)

struct vb_names {
    struct vb_names *next;
    size_t used;
    char bytes[];
};

/* A name lives as long as the tree. */
static char *
copy_name(struct vb *vb, const char *name, size_t len)
{
    struct vb_names *names = vb->names;
    char *copy;

    if (!names || NAMES_SIZE - names->used < len + 1) {
        names = malloc(sizeof(*names) + NAMES_SIZE);
        if (!names)
            return NULL;
        names->used = 0;
        names->next = vb->names;
        vb->names = names;
    }
    copy = names->bytes + names->used;
    names->used += len + 1;
    memcpy(copy, name, len);
    copy[len] = '\0';
    return copy;
}

int
tree_add_child(struct vb *vb, uint32_t parent, const char *name, size_t len, uint32_t hash,
               uint32_t *index)
{
    char *copy = copy_name(vb, name, len);
    uint32_t i;
    int err = copy ? new_item(vb, &i) : -ENOMEM;

    if (err)
        return err;
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
    free(vb->items[i].link);
    vb->items[i].name = vb->items[i].link = NULL;
}

/* Drop everything below @top, without recursion: children move to the front of a work list made of
 * `next` links. */
void
tree_drop_children(struct vb *vb, uint32_t top)
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

void
tree_drop(struct vb *vb, uint32_t i)
{
    struct item *it = &vb->items[i];

    tree_drop_children(vb, i);
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

void
tree_make_implicit(struct vb *vb, uint32_t i)
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

void
tree_make_whiteout(struct vb *vb, uint32_t i)
{
    tree_make_implicit(vb, i);
    vb->items[i].node.mode = vb->items[i].node.tar_mode = vb->items[i].node.nlink = 0;
    vb->items[i].node.flags = VIEW_WHITEOUT;
    vb->items[i].node.link = 0;
}

struct vb *
vb_new(void)
{
    struct vb *vb = calloc(1, sizeof(*vb));
    uint32_t root;

    if (!vb)
        return NULL;
    if (new_item(vb, &root) || !(vb->items[root].name = copy_name(vb, "", 0))) {
        vb_free(vb);
        return NULL;
    }
    tree_make_implicit(vb, root);
    return vb;
}

void
vb_free(struct vb *vb)
{
    if (!vb)
        return;
    for (uint32_t i = 0; i < vb->n; i++)
        free(vb->items[i].link);
    while (vb->names) {
        struct vb_names *next = vb->names->next;

        free(vb->names);
        vb->names = next;
    }
    free(vb->items);
    free(vb->buckets);
    free(vb->layers);
    free(vb);
}

int
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

bool
entry_link_ok(const struct vb_entry *e)
{
    return !has_link(e) || (e->link && e->link_len && e->link_len < LPMX_PATH_MAX &&
                            !memchr(e->link, '\0', e->link_len));
}

int
tree_set_entry(struct vb *vb, uint32_t i, const struct vb_entry *e)
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

bool
name_is_clean(const char *name, size_t len)
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

        if (!name_is_clean(path, (size_t)((slash ? slash : end) - path)))
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
        tree_make_implicit(vb, dir);
        if (removed)
            vb->items[dir].node.flags |= VIEW_OPAQUE;
    }
    *child = tree_find(vb, dir, name, len, hash);
    if (*child != VIEW_NONE)
        return 0;
    err = tree_add_child(vb, dir, name, len, hash, child);
    if (!err)
        tree_make_implicit(vb, *child);
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
        tree_drop_children(vb, at);
    }
    return tree_set_entry(vb, at, &e);
}

int
vb_add(struct vb *vb, const char *path, size_t path_len, const struct vb_entry *entry)
{
    uint32_t at = 0, before = vb->n;
    const char *end = path + path_len;
    int err = 0;

    if (!clean_path(path, path_len) || !entry_link_ok(entry))
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
