/* Making views, for Python through cffi and for the C tests; hosted code, not part of the engine.
 */
#ifndef LPMX_VIEW_BUILD_H
#define LPMX_VIEW_BUILD_H

#include "view.h"

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
/* Apply the layer view at @map (@size bytes) on top of the tree, as the OCI image specification's
 * layer application: whiteouts and opaque marks act on what is below, never on the layer's own
 * names, and do not stay. -EBADMSG when it is damaged or not the view of one layer, -ENOMEM; the
 * tree is then only good for vb_free. */
VIEW_API int vb_merge(struct vb *vb, const void *map, uint64_t size);
/* Write the tree to @fd, from its current offset, in the format of view.h. -EFBIG above 4 GiB of
 * names, -errno of write. */
VIEW_API int vb_write(struct vb *vb, int fd, const uint8_t chain_id[32]);

/* The node of @path in @view from its root, symlinks followed inside the view (the last one if
 * @follow or before a trailing slash, 40 in all), or -errno. In view_find.c. */
VIEW_API int64_t view_find(const struct view *view, const char *path, size_t len, int follow);

#endif
