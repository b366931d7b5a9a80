/* Listing directories of the union. */
#ifndef LPMX_READDIR_H
#define LPMX_READDIR_H

#include "../uufs.h"

/* getdents64 of the merged directory @ctr, whose lower part is @node (VIEW_NONE: none visible)
 * through descriptor @fd (any host directory of it). The position is the descriptor's own file
 * offset, so seek, dup, fork and exec behave as with a plain directory. Cookies: 0 and 1 are "."
 * and "..", 2+i is child i of the node, then 2 + n_children + a 40-bit hash of the name for names
 * only the upper has, then the end. Directories without a lower part use the kernel's own cookies
 * with whiteouts filtered out. Returns bytes written to @buf, 0 at the end, or -errno (-EINVAL:
 * buffer too small).
 */
long uufs_getdents(const struct uufs *fs, const char *ctr, size_t len, uint32_t node, int fd,
                   void *buf, size_t size);
/* Is @pos the end of a merged directory whose lower part is @node? */
bool uufs_list_ended(const struct view *view, uint32_t node, int64_t pos);
/* getdents64 of a directory that the upper alone has, @fd. @dotdot: the inode to be shown for "..";
 * 0: the disk's. */
long uufs_list_upper(int fd, uint64_t dotdot, void *buf, size_t size);
/* The same for directory @node of which all that shows is in the layers: the records from position
 * *pos on, behind the *used bytes that are in @buf, as far as they fit in its @size. *pos and *used
 * go on with them. False: there are more. Small frames. */
bool uufs_list_lower(const struct view *view, uint32_t node, int64_t *pos, void *buf, size_t *used,
                     size_t size);
/* 1 when the merged directory holds no name, 0 when it does, or -errno. */
int uufs_is_empty(const struct uufs *fs, const char *ctr, size_t len, uint32_t node);

#endif
