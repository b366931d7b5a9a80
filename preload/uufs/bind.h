/* The binds of a root. */
#ifndef LPMX_BIND_H
#define LPMX_BIND_H

#include "uufs.h"

/* To be called when the binds are known. */
void uufs_note_binds(struct uufs *fs);
/* The bind that lies exactly at @ctr: its index, or -1. */
int uufs_bind_at(const struct uufs *fs, const char *ctr, size_t len);

#endif
