/* What a program called the unix sockets that it bound: the kernel tells the host's name. */
#ifndef LPMX_SOCKNAME_H
#define LPMX_SOCKNAME_H

#include "../uufs/uufs.h"

#include <sys/socket.h>
#include <sys/un.h>

#define PATH_OFFSET offsetof(struct sockaddr_un, sun_path)

/* A socket was bound to @given of @given_len bytes, which the kernel knows as @host. */
void sockname_note(const struct sockaddr_un *host, const struct sockaddr_un *given,
                   unsigned given_len);
/* @un as the kernel told it, @len bytes, is made what the program is to see; its length. What is
 * no path, or none of the container's, stays. */
unsigned sockname_show(struct sockaddr_un *un, unsigned len);
/* As many bytes of the @size at @name as fit into the program's @room bytes at @to, and @size at
 * @len. 0 or -errno. */
int sockname_put(unsigned long to, int room, unsigned long len, const void *name, unsigned size);

/* sockbind.c: bind @fd to what the absent @hit is, so that the kernel tells the path @given, which
 * the program gave, or one from which sockname_show can make it. 1: it cannot be done; 0 or -errno
 * of bind(2). */
int sockname_bind(int fd, const struct uufs_hit *hit, const char *given);

#endif
