/* Messages between the agent and its proxies. */
#ifndef LPMX_MESSAGE_H
#define LPMX_MESSAGE_H

#include "protocol.h"

int message_address(const char *name, void *address, size_t *size); /* a struct sockaddr_un */
bool message_peer_is_own(int fd);
long message_send(int fd, int kind, int value, const int *fds, size_t n);
/* 1, 0 at the end of the connection, or -errno. @fds (room for AGENT_FDS) gets *n descriptors. */
long message_receive(int fd, struct agent_message *m, int *fds, size_t *n);
/* The open descriptors of this process, ascending, but for the one used to look: their number or
 * -errno. */
long message_descriptors(int *out, size_t cap);
void *message_memory(size_t size); /* fresh zeros, or NULL */

#endif
