/* Published ports: see ports.c. */
#ifndef LPMX_PORTS_H
#define LPMX_PORTS_H

#include "../../base/sys.h"

#include <stdbool.h>

struct inet_address { /* as long as a struct sockaddr_in6, which begins like a sockaddr_in */
    unsigned char bytes[28];
} __attribute__((aligned(4)));

/* Is the address of @len bytes at @p one whose port stands for another on the host? Then @to gets
 * the address with that. @binding: to be bound; else to be reached, which concerns this machine's
 * own addresses alone. */
bool port_outward(unsigned long p, unsigned len, bool binding, struct inet_address *to);

/* Put the container's port for the host's into the address of @room bytes at @p, which the kernel
 * has just written. @peer: somebody else's address, and so only if it is this machine's own. */
void port_inward(unsigned long p, int room, bool peer);

#endif
