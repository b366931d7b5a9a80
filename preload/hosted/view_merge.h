/* Applying layer views on top of each other. */
#ifndef LPMX_VIEW_MERGE_H
#define LPMX_VIEW_MERGE_H

#include "view_tree.h"

/* Is the layer view at @map as good as the view of an image of that layer alone? 1, 0 or -EBADMSG.
 */
VIEW_API int vb_is_image(const void *map, uint64_t size);
/* Apply the layer view at @map (@size bytes) on top of the tree, as the OCI image specification's
 * layer application: whiteouts and opaque marks act on what is below, never on the layer's own
 * names, and do not stay. -EBADMSG when it is damaged or not the view of one layer, -ENOMEM; the
 * tree is then only good for vb_free. */
VIEW_API int vb_merge(struct vb *vb, const void *map, uint64_t size);
/* The same for the view in file @fd, of which little is in memory at a time. */
VIEW_API int vb_merge_file(struct vb *vb, int fd);

#endif
