/* Bringing a name of the layers to the upper. */
#ifndef LPMX_COPYUP_H
#define LPMX_COPYUP_H

#include "../uufs.h"

/* Where the layer @layer has @ctr, into @host of LPMX_PATH_MAX bytes. The length or -errno. */
long uufs_layer_path(const struct uufs *fs, uint32_t layer, const char *ctr, size_t len,
                     char *host);

enum uufs_copy_how {
    UUFS_COPY_DATA = 0,
    UUFS_COPY_NO_DATA = 1, /* the caller truncates at once */
};

/* Make the upper hold every parent directory of @ctr (mode, mtime, xattrs of the lower ones kept).
 */
int uufs_make_parents(const struct uufs *fs, const char *ctr, size_t len);
/* Bring a lower hit up, whole and atomically; on success hit->where is UUFS_UPPER and hit->host is
 * the upper's path. An upper or bind hit is left as it is. -EROFS, -ENOSPC ... leave no trace. Two
 * processes may race: one copy wins. */
int uufs_copy_up(const struct uufs *fs, struct uufs_hit *hit, enum uufs_copy_how how);

/* Make the upper hold the directory @ctr and all above it. */
int upper_make_dirs(const struct uufs *fs, const char *ctr, size_t len);

#endif
