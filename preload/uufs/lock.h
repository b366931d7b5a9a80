/* The lock of a container. It serialises changes that involve a lower name, and is given back when
 * its holder dies (flock on WORK/lock). */
#ifndef LPMX_LOCK_H
#define LPMX_LOCK_H

#include "uufs.h"

/* Returns a descriptor. */
int uufs_lock(const struct uufs *fs);
void uufs_unlock(int lock);

#endif
