/* The root directory of a process inside its container, as chroot(2) changes it. */
#ifndef LPMX_ROOT_H
#define LPMX_ROOT_H

#include "../../base/sys.h"

#include <stdbool.h>
#include <stddef.h>

/* The container path that "/" means to the calling process; NULL: the container's own root. */
const char *root_now(void);
/* The container path @ctr becomes it. 0 or -ENAMETOOLONG. */
int root_set(const char *ctr);
/* Take over what an execve handed on; "" for the container's own. */
void root_restore(const char *path);
/* A child that shares its parent's memory leaves it by execve: what was noted there for it goes,
 * and comes back where the execve fails. */
void root_leave(void);
void root_stay(void);
/* @ctr as the calling process sees it from its root; @ctr itself when that lies outside. */
const char *root_show(const char *ctr, bool *outside);

#endif
