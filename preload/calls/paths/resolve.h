/* From a call's arguments to a hit in the union. */
#ifndef LPMX_RESOLVE_H
#define LPMX_RESOLVE_H

#include "../../uufs/change/copyup.h"
#include "../program/call.h"

int call_dirfd(const struct call *c);
unsigned call_how(const struct call *c);
/* Container path of a directory descriptor (or AT_FDCWD) into @ctr. -EBADF, -ENOTDIR, -ENOENT when
 * it lies outside. */
int call_base(int dirfd, char *ctr, size_t cap);
/* Container path of any descriptor. */
int call_fd_path(int fd, char *ctr, size_t cap, bool *lower); /* *lower: it lies in a layer */
/* The same (AT_FDCWD too) where @fd's metadata is @st; *node: of the layers' directory that shows
 * there, or VIEW_NONE. */
int call_fd_place(int fd, const struct stat *st, char *ctr, size_t cap, bool *lower,
                  uint32_t *node);
int call_walk(int dirfd, unsigned long user_path, unsigned how, struct uufs_hit *hit);
/* Does the path end in "." (1) or ".." (2), or is it "/" (3)? 0, or -errno. */
int call_last_is_dots(unsigned long user_path);
/* As call_walk with the row's own columns. */
int call_resolve(const struct call *c, struct uufs_hit *hit);
/* Before something is changed through /proc/self/fd/N: where the file behind it lies in a layer,
 * @hit becomes the name it has in the container; -EROFS when it has none any more. Others are left
 * to the kernel. */
int call_leave_magic(struct uufs_hit *hit);
/* Before metadata or content of a hit changes: EROFS, or a lower file copied up. */
int call_make_writable(struct uufs_hit *hit, enum uufs_copy_how how);
/* Is the user's path empty (AT_EMPTY_PATH)? 1, 0 or -EFAULT. */
int call_path_empty(const struct call *c);

#endif
