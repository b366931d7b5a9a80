/* Descriptors of the engine's own. */
#ifndef LPMX_HOSTFD_H
#define LPMX_HOSTFD_H

/* A descriptor of our own on host path @host, close-on-exec: openat, even where the program has
 * used up its soft limit of open files. */
int hostfd_open(const char *host, int flags, unsigned mode);

#endif
