/* The path walk: from a container path to what holds it. */
#ifndef LPMX_WALK_H
#define LPMX_WALK_H

#include "../uufs.h"

/* Find @path, relative to the canonical container directory @base, in the union. -ENOENT, -ENOTDIR,
 * -ELOOP, -ENAMETOOLONG; with UUFS_RESOLVE also -EXDEV, and -EAGAIN: something moved meanwhile. */
int uufs_walk(const struct uufs *fs, const char *base, const char *path, unsigned how,
              struct uufs_hit *hit);
/* As uufs_walk with no symlink followed and binds ignored, for a canonical container path: what the
 * union itself holds. */
int uufs_lookup(const struct uufs *fs, const char *ctr, unsigned how, struct uufs_hit *hit);

#endif
