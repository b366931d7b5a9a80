/* Making views, for Python through cffi and for the C tests; hosted code, not part of the engine.
 */
#ifndef LPMX_VIEW_BUILD_H
#define LPMX_VIEW_BUILD_H

#include "../view/view.h"

struct vb; /* a tree being built */

struct vb_entry { /* metadata of one name; fields as in struct view_node */
    uint32_t mode, tar_mode, tar_uid, tar_gid, nlink, flags, rdev, uid, gid, mtime_ns, ctime_ns;
    int64_t mtime, ctime;
    uint64_t size, ino, blocks;
    const char *link; /* symlink target, link_len bytes */
    uint32_t link_len;
};

/* An empty tree, or NULL without memory. */
VIEW_API struct vb *vb_new(void);
VIEW_API void vb_free(struct vb *vb);
/* Start a layer: what is added from now on belongs to it. */
VIEW_API int vb_layer(struct vb *vb, const uint8_t diff_id[32], uint64_t root_ino);
/* Add @path (relative, no leading "/" or "./", "" is the root) to the current layer; the last one
 * added wins, missing parents become implicit directories. A whiteout is added under the name that
 * it removes (no `.wh.`) with VIEW_WHITEOUT; it never hides the layer's own entry of that name: a
 * directory that has both becomes opaque, and so it stays. -EINVAL for a path that is not clean or
 * a link without a target, -ENOMEM. */
VIEW_API int vb_add(struct vb *vb, const char *path, size_t path_len, const struct vb_entry *entry);

/* The child of @parent for a name of this hash, or VIEW_NONE. */
uint32_t tree_find(const struct vb *vb, uint32_t parent, const char *name, size_t len,
                   uint32_t hash);
int tree_add_child(struct vb *vb, uint32_t parent, const char *name, size_t len, uint32_t hash,
                   uint32_t *index);
void tree_drop_children(struct vb *vb, uint32_t top);
void tree_drop(struct vb *vb, uint32_t i);
/* Give item @i the metadata of @e, which entry_link_ok has passed, and the current layer. */
int tree_set_entry(struct vb *vb, uint32_t i, const struct vb_entry *e);
/* Whatever item @i was: a folder now, with nothing known of it; a whiteout. */
void tree_make_implicit(struct vb *vb, uint32_t i);
void tree_make_whiteout(struct vb *vb, uint32_t i);
bool name_is_clean(const char *name, size_t len);
/* A link needs a target that a kernel would take. */
bool entry_link_ok(const struct vb_entry *e);

#endif
