/* New names in the union.
 *
 * Hits that are changed (here, in remove.h, rename.h and link.h) come from uufs_walk without
 * UUFS_FOLLOW, with UUFS_MISSING where absence is allowed. */
#ifndef LPMX_CREATE_H
#define LPMX_CREATE_H

#include "../uufs.h"

/* Before a new name is created at an absent hit (open O_CREAT, mkdir, symlink, mknod, bind(2),
 * link): -EROFS; else parents are in the upper, the name is noted dirty, and hit->host is where to
 * create it. */
int uufs_prepare_create(const struct uufs *fs, struct uufs_hit *hit);
int uufs_mkdir(const struct uufs *fs, struct uufs_hit *hit, unsigned mode);

#endif
