/* Removing names of the union. */
#ifndef LPMX_REMOVE_H
#define LPMX_REMOVE_H

#include "../uufs.h"

int uufs_unlink(const struct uufs *fs, struct uufs_hit *hit);
int uufs_rmdir(const struct uufs *fs, struct uufs_hit *hit);

/* Take the upper directory @host, empty in the merged view, out of the tree and delete it.
 * -ENOTEMPTY: it is not. */
int upper_discard_dir(const struct uufs *fs, const char *host);

#endif
