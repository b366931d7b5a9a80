/* Descriptors of the engine's own. */
#ifndef LPMX_OPEN_H
#define LPMX_OPEN_H

/* A descriptor of our own on host path @host, close-on-exec: openat, even where the program has
 * used up its soft limit of open files. */
int uufs_open(const char *host, int flags, unsigned mode);

#endif
