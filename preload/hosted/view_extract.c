/* The view builder's tree while a layer is unpacked: one item a name, asked for and filled in name
 * by name, so that an importer keeps nothing of its own. Whatever an archive says twice is settled
 * here: the last one wins, and a whiteout never hides what the layer itself has.
 *
 * An item of a folder is made before those of what is in it: indexes go down the tree. */
#include "view_extract.h"

#include "../base/libc.h"
#include "view_build.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static struct item *
item_at(const struct vb *vb, uint32_t i)
{
    return i < vb->n && vb->items[i].alive ? &vb->items[i] : NULL;
}

static bool
is_whiteout(const struct item *it)
{
    return it->node.flags & VIEW_WHITEOUT;
}

int64_t
vb_child(const struct vb *vb, uint32_t parent, const char *name, size_t len)
{
    uint32_t i = tree_find(vb, parent, name, len, view_hash(name, len));

    return i == VIEW_NONE || is_whiteout(&vb->items[i]) ? -ENOENT : (int64_t)i;
}

/* Bytes of the path of @i. */
static size_t
path_length(const struct vb *vb, uint32_t i)
{
    size_t len = 0;

    for (; i; i = vb->items[i].node.parent)
        len += vb->items[i].node.name_len + (vb->items[i].node.parent ? 1 : 0);
    return len;
}

int64_t
vb_make(struct vb *vb, uint32_t parent, const char *name, size_t len)
{
    uint32_t hash = view_hash(name, len), i;
    int err;

    if (!item_at(vb, parent) || !S_ISDIR(vb->items[parent].node.mode))
        return -ENOTDIR;
    if (!name_is_clean(name, len))
        return -EINVAL;
    if (path_length(vb, parent) + (parent ? 1 : 0) + len >= LPMX_PATH_MAX)
        return -ENAMETOOLONG;
    i = tree_find(vb, parent, name, len, hash);
    if (i != VIEW_NONE && !is_whiteout(&vb->items[i]))
        return -EEXIST;
    err = i == VIEW_NONE ? tree_add_child(vb, parent, name, len, hash, &i) : 0;
    if (!err)
        tree_make_implicit(vb, i);
    return err ? err : (int64_t)i;
}

int
vb_hide(struct vb *vb, uint32_t parent, const char *name, size_t len)
{
    uint32_t hash = view_hash(name, len), i;
    int err;

    if (!item_at(vb, parent) || !name_is_clean(name, len))
        return -EINVAL;
    i = tree_find(vb, parent, name, len, hash);
    if (i == VIEW_NONE) {
        err = tree_add_child(vb, parent, name, len, hash, &i);
        if (err)
            return err;
        tree_make_whiteout(vb, i);
    }
    vb->items[i].hides = true;
    return 0;
}

int
vb_describe(struct vb *vb, uint32_t i, uint32_t tar_mode, uint32_t uid, uint32_t gid, uint32_t rdev,
            int64_t mtime, uint32_t mtime_ns)
{
    struct item *it = item_at(vb, i);

    if (!it)
        return -ENOENT;
    it->node.tar_mode = tar_mode;
    if (!S_ISDIR(tar_mode))
        it->node.mode = tar_mode; /* until vb_stat */
    it->node.tar_uid = uid;
    it->node.tar_gid = gid;
    it->node.rdev = rdev;
    it->node.mtime = mtime;
    it->node.mtime_ns = mtime_ns;
    it->node.flags &= ~(uint32_t)VIEW_IMPLICIT;
    return 0;
}

int
vb_flag(struct vb *vb, uint32_t i, uint32_t flags)
{
    struct item *it = item_at(vb, i);

    if (!it)
        return -ENOENT;
    it->node.flags |= flags;
    return 0;
}

int
vb_content(struct vb *vb, uint32_t i, uint32_t content)
{
    struct item *it = item_at(vb, i);

    if (!it)
        return -ENOENT;
    it->node.link = content;
    return 0;
}

int
vb_target(struct vb *vb, uint32_t i, const char *link, size_t len)
{
    struct item *it = item_at(vb, i);

    if (!it || it->link || !len || len >= LPMX_PATH_MAX || memchr(link, '\0', len))
        return -EINVAL;
    it->link = malloc(len + 1);
    if (!it->link)
        return -ENOMEM;
    memcpy(it->link, link, len);
    it->link[len] = '\0';
    it->node.link_len = (uint32_t)len;
    return 0;
}

int
vb_stat(struct vb *vb, uint32_t i, int fd, const char *name)
{
    struct item *it = item_at(vb, i);
    struct view_node *n;
    struct stat st;

    if (!it)
        return -ENOENT;
    if (name ? fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) : fstat(fd, &st))
        return -errno;
    n = &it->node;
    n->mode = st.st_mode;
    n->nlink = (uint32_t)st.st_nlink;
    n->uid = st.st_uid;
    n->gid = st.st_gid;
    n->mtime = st.st_mtim.tv_sec;
    n->mtime_ns = (uint32_t)st.st_mtim.tv_nsec;
    n->ctime = st.st_ctim.tv_sec;
    n->ctime_ns = (uint32_t)st.st_ctim.tv_nsec;
    n->size = (uint64_t)st.st_size;
    n->ino = st.st_ino;
    n->blocks = (uint64_t)st.st_blocks;
    return 0;
}

int
vb_remove(struct vb *vb, uint32_t i)
{
    struct item *it = i ? item_at(vb, i) : NULL;

    if (!it)
        return -ENOENT;
    if (!it->hides) {
        tree_drop(vb, i);
        return 0;
    }
    tree_drop_children(vb, i);
    tree_make_whiteout(vb, i);
    return 0;
}

int
vb_info(const struct vb *vb, uint32_t i, struct vb_info *info)
{
    const struct item *it = item_at(vb, i);

    if (!it)
        return -ENOENT;
    *info = (struct vb_info){
        .parent = it->node.parent,
        .mode = it->node.mode,
        .tar_mode = it->node.tar_mode,
        .tar_uid = it->node.tar_uid,
        .tar_gid = it->node.tar_gid,
        .rdev = it->node.rdev,
        .flags = it->node.flags,
        .content = it->node.link,
        .first = it->first,
        .next = it->next,
        .mtime_ns = it->node.mtime_ns,
        .mtime = it->node.mtime,
        .ino = it->node.ino,
        .name = it->name,
        .link = it->link,
        .name_len = it->node.name_len,
        .link_len = it->node.link_len,
    };
    return 0;
}

int64_t
vb_next_folder(const struct vb *vb, uint32_t from)
{
    for (uint32_t i = from; i < vb->n; i++)
        if (vb->items[i].alive && S_ISDIR(vb->items[i].node.mode) && !is_whiteout(&vb->items[i]))
            return i;
    return -ENOENT;
}

struct counted {
    uint64_t ino, size;
};

static int
counted_compare(const void *a, const void *b)
{
    const struct counted *x = a, *y = b;

    return (x->ino > y->ino) - (x->ino < y->ino);
}

/* The files of several names, each once. */
static int64_t
size_of_linked(const struct vb *vb, uint32_t n_linked)
{
    struct counted *files = malloc(n_linked * sizeof(*files));
    uint32_t n = 0;
    int64_t total = 0;

    if (!files)
        return -ENOMEM;
    for (uint32_t i = 0; i < vb->n; i++) {
        const struct view_node *node = &vb->items[i].node;

        if (vb->items[i].alive && S_ISREG(node->mode) && node->nlink > 1)
            files[n++] = (struct counted){node->ino, node->size};
    }
    qsort(files, n, sizeof(*files), counted_compare);
    for (uint32_t i = 0; i < n; i++)
        if (!i || files[i].ino != files[i - 1].ino)
            total += (int64_t)files[i].size;
    free(files);
    return total;
}

int64_t
vb_size(const struct vb *vb)
{
    uint32_t n_linked = 0;
    int64_t total = 0, linked;

    for (uint32_t i = 0; i < vb->n; i++) {
        const struct view_node *node = &vb->items[i].node;

        if (!vb->items[i].alive || !S_ISREG(node->mode))
            continue;
        if (node->nlink > 1)
            n_linked++;
        else
            total += (int64_t)node->size;
    }
    linked = n_linked ? size_of_linked(vb, n_linked) : 0;
    return linked < 0 ? linked : total + linked;
}
