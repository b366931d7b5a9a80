/* Files of /proc that are shown with the container's paths. */
#ifndef LPMX_FILES_H
#define LPMX_FILES_H

#include "../../uufs/uufs.h"
#include "../program/call.h"

bool procfile_is(const struct uufs_hit *hit);
long procfile_open(const struct call *c, const struct uufs_hit *hit, unsigned long flags);
/* The mode of what such a descriptor really is; no other file is likely to have it. */
#define PROCFILE_MODE 0101444
/* The file of /proc for which the magic link @link, or descriptor @fd, stands. False: it is no such
 * one. */
bool procfile_named(const char *link, char *path, size_t cap);
bool procfile_behind(int fd, char *path, size_t cap);

#endif
