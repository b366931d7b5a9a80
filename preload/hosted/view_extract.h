/* A layer being unpacked. */
#ifndef LPMX_VIEW_EXTRACT_H
#define LPMX_VIEW_EXTRACT_H

#include "view_tree.h"

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

#endif
