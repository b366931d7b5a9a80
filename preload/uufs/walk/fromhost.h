/* From a path of the host back to the container. */
#ifndef LPMX_FROMHOST_H
#define LPMX_FROMHOST_H

#include "../uufs.h"

/* Container path of a host path (as /proc/self/fd/N or getcwd tell it) into @ctr. -ENOENT when it
 * lies outside. */
int uufs_from_host(const struct uufs *fs, const char *host, char *ctr, size_t cap);
/* Does a host path lie in a layer, where nothing ever moves? */
bool uufs_host_is_lower(const struct uufs *fs, const char *host);
/* What follows in a host path behind the upper or WORK, by whatever name the kernel has for them
 * (alias.h); NULL: it lies elsewhere. */
const char *uufs_below_upper(const struct uufs *fs, const char *host);
const char *uufs_below_work(const struct uufs *fs, const char *host);

#endif
