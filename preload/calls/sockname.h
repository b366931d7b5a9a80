/* What a program called the unix sockets that it bound: the kernel tells the host's name. */
#ifndef LPMX_SOCKNAME_H
#define LPMX_SOCKNAME_H

#include <sys/socket.h>
#include <sys/un.h>

/* A socket was bound to @given of @given_len bytes, which the kernel knows as @host. */
void sockname_note(const struct sockaddr_un *host, const struct sockaddr_un *given,
                   unsigned given_len);
/* If @un is such a host name, replace it by what was given; its length, or 0. */
unsigned sockname_given(struct sockaddr_un *un);

#endif
