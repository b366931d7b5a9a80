/* The union for Python: a container's plan opened outside of it, its names walked, listed and made
 * by the engine's own rules. Hosted code, not part of the engine. */
#ifndef LPMX_HOST_H
#define LPMX_HOST_H

#include "../uufs/uufs.h"
#include "owner_host.h"

struct host; /* an opened plan */

/* NULL and -errno in *@err. */
VIEW_API struct host *host_open(const char *plan, int *err);
VIEW_API void host_close(struct host *host);
/* As uufs_walk from @base (canonical), with enum uufs_how. */
VIEW_API int host_walk(struct host *host, const char *base, const char *path, unsigned how,
                       struct uufs_hit *hit);
/* As uufs_from_host. */
VIEW_API int host_from_host(struct host *host, const char *path, char *ctr, size_t cap);
/* What is shown of a hit: known is 1 where the image or a record says it. */
VIEW_API int host_shown(struct host *host, const struct uufs_hit *hit, struct owner_shown *shown);
/* Entries of the directory @hit as getdents64 gives them, through descriptor @fd of hit->host. */
VIEW_API long host_list(struct host *host, const struct uufs_hit *hit, int fd, void *buf,
                        size_t size);
VIEW_API int host_mkdir(struct host *host, struct uufs_hit *hit, unsigned mode);
/* Get everything ready for a rename(2) onto hit->host, whether or not something that is no
 * directory is there. */
VIEW_API int host_prepare(struct host *host, struct uufs_hit *hit);
/* Bring the directory @hit into the upper, so that it can be changed. */
VIEW_API int host_copy_up(struct host *host, struct uufs_hit *hit);
/* A fresh name in the work folder, on the upper's file system. */
VIEW_API int host_temp(struct host *host, char path[LPMX_PATH_MAX]);
/* Give the upper's file at @path (or one that will be renamed there) an owner and a mode. */
VIEW_API int host_own(struct host *host, const char *path, const struct owner_shown *shown);

#endif
