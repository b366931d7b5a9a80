/* What a program called the unix sockets that it bound: the kernel tells the host's name. */
#ifndef LPMX_SOCKNAME_H
#define LPMX_SOCKNAME_H

#include <sys/socket.h>
#include <sys/un.h>

/* A socket was bound to @given of @given_len bytes, which the kernel knows as @host. */
void sockname_note(const struct sockaddr_un *host, const struct sockaddr_un *given,
                   unsigned given_len);
/* @un as the kernel told it, @len bytes, is made what the program is to see; its length. What is
 * no path, or none of the container's, stays. */
unsigned sockname_show(struct sockaddr_un *un, unsigned len);
/* As many bytes of the @size at @name as fit into the program's @room bytes at @to, and @size at
 * @len. 0 or -errno. */
int sockname_put(unsigned long to, int room, unsigned long len, const void *name, unsigned size);

#endif
