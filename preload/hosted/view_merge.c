/* A layer view over a tree: the layer application of the OCI image specification.
 *
 * The layer is walked in the order of its file, parents before children, and believed no more than
 * view.c does. */
#include "view_merge.h"

#include "../base/libc.h"
#include "view_build.h"
#include "view_write.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

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
    uint32_t below = tree_find(vb, dir, name, n->name_len, view_hash(name, n->name_len));

    if (below != VIEW_NONE)
        tree_drop(vb, below);
}

/* One name of the layer over the tree; *target gets where its children go. Over a directory that
 * lower layers have, an implicit one (it is on disk, but not in the archive) changes nothing. */
static int
merge_node(struct vb *vb, const struct view *v, const struct view_node *n, uint32_t dir,
           uint32_t *target)
{
    const char *name = view_name(v, n);
    uint32_t hash = view_hash(name, n->name_len);
    uint32_t below = tree_find(vb, dir, name, n->name_len, hash);
    struct vb_entry e;
    int err;

    entry_from_node(v, n, &e);
    if (!entry_link_ok(&e))
        return -EBADMSG;
    if (below != VIEW_NONE && S_ISDIR(n->mode) && S_ISDIR(vb->items[below].node.mode)) {
        if (n->flags & VIEW_OPAQUE)
            tree_drop_children(vb, below);
        *target = below;
        return n->flags & VIEW_IMPLICIT ? 0 : tree_set_entry(vb, below, &e);
    }
    if (below != VIEW_NONE)
        tree_drop(vb, below);
    err = tree_add_child(vb, dir, name, n->name_len, hash, target);
    return err ? err : tree_set_entry(vb, *target, &e);
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
        if (v->nodes[k].parent != i || !name_is_clean(next.name, next.len))
            return false;
        next.hash = view_hash(next.name, next.len);
        if (last.name && child_compare(&last, &next) >= 0)
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
        tree_drop_children(vb, 0);
    if (v->nodes[0].flags & VIEW_IMPLICIT && vb->n_layers > 1)
        return 0;
    entry_from_node(v, &v->nodes[0], &e);
    return tree_set_entry(vb, 0, &e);
}

int
vb_is_image(const void *map, uint64_t size)
{
    struct view v;
    int err = view_open(&v, map, size);

    if (err || v.n_layers != 1)
        return err;
    for (uint32_t i = 0; i < v.n_nodes; i++)
        if (v.nodes[i].flags & (VIEW_WHITEOUT | VIEW_OPAQUE))
            return 0;
    return 1;
}

#define KEPT_MASK 0xffffU /* nodes after which what was read of the file is given back */

/* The file is read once, from its nodes' first to their last: it need not stay in memory. */
static void
give_back(const void *map, uint64_t size)
{
    madvise((void *)(uintptr_t)map, size, MADV_DONTNEED);
}

static int
merge_view(struct vb *vb, const void *map, uint64_t size, bool is_file)
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
    for (uint32_t i = 0; i < v.n_nodes && !err; i++) {
        if (targets[i] != VIEW_NONE && S_ISDIR(v.nodes[i].mode))
            err = merge_children(vb, &v, i, targets[i], targets);
        if (is_file && (i & KEPT_MASK) == KEPT_MASK)
            give_back(map, size);
    }
    free(targets);
    return err;
}

int
vb_merge(struct vb *vb, const void *map, uint64_t size)
{
    return merge_view(vb, map, size, false);
}

int
vb_merge_file(struct vb *vb, int fd)
{
    struct stat st;
    size_t size;
    void *map;
    int err;

    if (fstat(fd, &st))
        return -errno;
    size = (size_t)st.st_size;
    if (!size)
        return -EBADMSG;
    map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    err = merge_view(vb, map, size, true);
    munmap(map, size);
    return err;
}
