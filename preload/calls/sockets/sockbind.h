/* The form in which an absolute path is bound from the upper's root. */
#ifndef LPMX_SOCKBIND_H
#define LPMX_SOCKBIND_H

#include "../../base/libc.h"
#include "../../uufs/uufs.h"

#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#define PATH_OFFSET offsetof(struct sockaddr_un, sun_path)

/* What stands before the container's path, which begins with a slash; the kernel reads it as a
 * relative path, and no program writes one so. */
#define SOCKBIND_ROOTED          ".//"
#define SOCKBIND_ROOTED_LEN      3
#define SOCKBIND_IS_ROOTED(path) (!strncmp((path), SOCKBIND_ROOTED "/", SOCKBIND_ROOTED_LEN + 1))

/* Bind @fd to what the absent @hit is, so that the kernel tells the path @given, which
 * the program gave, or one from which sockname_show can make it. 1: it cannot be done; 0 or -errno
 * of bind(2). */
int sockbind_bind(int fd, const struct uufs_hit *hit, const char *given);

#endif
