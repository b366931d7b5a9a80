/* Places that are too deep for a path. */
#ifndef LPMX_DEEP_H
#define LPMX_DEEP_H

#include "../uufs/uufs.h"

/* Where the place from which @path counts, or what it leads to, is too deep for a path. */
int call_walk_deep(int dirfd, const char *path, unsigned how, struct uufs_hit *hit);

#endif
