/* link(2) in the union. */
#ifndef LPMX_LINK_H
#define LPMX_LINK_H

#include "../uufs.h"

/* linkat; @from may have been walked with UUFS_FOLLOW; magic /proc hits are linked with
 * AT_SYMLINK_FOLLOW. */
int uufs_link(const struct uufs *fs, struct uufs_hit *from, struct uufs_hit *to);

#endif
