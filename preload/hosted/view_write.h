/* Writing a view to a file. */
#ifndef LPMX_VIEW_WRITE_H
#define LPMX_VIEW_WRITE_H

#include "view_tree.h"

/* By hash, then by bytes: the order of children in a view. */
int child_compare(const void *a, const void *b);

/* Write the tree to @fd, from its current offset, in the format of view.h. -EFBIG above 4 GiB of
 * names, -errno of write. */
VIEW_API int vb_write(struct vb *vb, int fd, const uint8_t chain_id[32]);

#endif
