/* Places that are too deep for a path. */
#ifndef LPMX_LONGPATH_H
#define LPMX_LONGPATH_H

#include "../../uufs/uufs.h"

/* Where the place from which @path counts, or what it leads to, is too deep for a path. */
int longpath_walk(int dirfd, const char *path, unsigned how, struct uufs_hit *hit);

#endif
