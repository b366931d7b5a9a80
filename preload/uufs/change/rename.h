/* rename(2) in the union. */
#ifndef LPMX_RENAME_H
#define LPMX_RENAME_H

#include "../uufs.h"

/* -EINVAL for flags that no file system knows, before any path is looked at. */
int uufs_rename_flags(unsigned flags);
/* renameat2 semantics, flags RENAME_NOREPLACE, RENAME_EXCHANGE or 0 (others -EINVAL). A lower or
 * merged directory answers -EXDEV as overlayfs does without redirect_dir. */
int uufs_rename(const struct uufs *fs, struct uufs_hit *from, struct uufs_hit *to, unsigned flags);

#endif
