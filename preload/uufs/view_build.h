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
/* Is the layer view at @map as good as the view of an image of that layer alone? 1, 0 or -EBADMSG.
 */
VIEW_API int vb_is_image(const void *map, uint64_t size);
/* Apply the layer view at @map (@size bytes) on top of the tree, as the OCI image specification's
 * layer application: whiteouts and opaque marks act on what is below, never on the layer's own
 * names, and do not stay. -EBADMSG when it is damaged or not the view of one layer, -ENOMEM; the
 * tree is then only good for vb_free. */
VIEW_API int vb_merge(struct vb *vb, const void *map, uint64_t size);

/* A layer being unpacked, an item a name: indexes of items, 0 is the root. In view_extract.c.
 *
 * What a name is: its fields, see struct view_node, its siblings (VIEW_NONE: no more), and the
 * importer's own number for its contents. */
struct vb_info {
    uint32_t parent, mode, tar_mode, tar_uid, tar_gid, rdev, flags, content, first, next, mtime_ns;
    int64_t mtime;
    uint64_t ino;
    const char *name, *link;
    uint32_t name_len, link_len;
};

/* The item of @name in folder @parent, or -ENOENT. */
VIEW_API int64_t vb_child(const struct vb *vb, uint32_t parent, const char *name, size_t len);
/* A new item, an implicit folder until more is said of it. -EEXIST, -EINVAL for a name that is not
 * clean, -ENOTDIR, -ENAMETOOLONG for its path, -ENOMEM. */
VIEW_API int64_t vb_make(struct vb *vb, uint32_t parent, const char *name, size_t len);
/* The layer removes @name of the layers below; of its own it makes a folder opaque. */
VIEW_API int vb_hide(struct vb *vb, uint32_t parent, const char *name, size_t len);
/* What the archive says of item @i, which is then not implicit. */
VIEW_API int vb_describe(struct vb *vb, uint32_t i, uint32_t tar_mode, uint32_t uid, uint32_t gid,
                         uint32_t rdev, int64_t mtime, uint32_t mtime_ns);
VIEW_API int vb_flag(struct vb *vb, uint32_t i, uint32_t flags);
VIEW_API int vb_content(struct vb *vb, uint32_t i, uint32_t content);
/* The target of a symlink, once. */
VIEW_API int vb_target(struct vb *vb, uint32_t i, const char *link, size_t len);
/* What the disk says of descriptor @fd, or of @name in it. */
VIEW_API int vb_stat(struct vb *vb, uint32_t i, int fd, const char *name);
/* Item @i and all below it go. */
VIEW_API int vb_remove(struct vb *vb, uint32_t i);
VIEW_API int vb_info(const struct vb *vb, uint32_t i, struct vb_info *info);
/* The first folder from @from on, parents before children, or -ENOENT. */
VIEW_API int64_t vb_next_folder(const struct vb *vb, uint32_t from);
/* Bytes in all regular files, those of several names once. */
VIEW_API int64_t vb_size(const struct vb *vb);

/* The same for the view in file @fd, of which little is in memory at a time. */
VIEW_API int vb_merge_file(struct vb *vb, int fd);
/* Write the tree to @fd, from its current offset, in the format of view.h. -EFBIG above 4 GiB of
 * names, -errno of write. */
VIEW_API int vb_write(struct vb *vb, int fd, const uint8_t chain_id[32]);

/* The node of @path in @view from its root, symlinks followed inside the view (the last one if
 * @follow or before a trailing slash, 40 in all), or -errno. In view_find.c. */
VIEW_API int64_t view_find(const struct view *view, const char *path, size_t len, int follow);

#endif
