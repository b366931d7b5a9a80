/* The links of /proc that the kernel follows by itself, whatever their text says. */
#ifndef LPMX_PROCLINK_H
#define LPMX_PROCLINK_H

#include "../base/sys.h"

#include <stddef.h>

enum proc_link { PROC_PLAIN, PROC_EXE, PROC_CWD, PROC_ROOT, PROC_FD };

/* Is @rel, a path below /proc starting with "/", one of them? */
enum proc_link proc_link_kind(const char *rel);

#define PROC_LINK_SIZE 40
/* The link of the descriptor @fd of this process, and its length. */
size_t proc_link_fd(int fd, char link[PROC_LINK_SIZE]);
/* What the kernel calls the file behind descriptor @fd, cut off at @cap - 1 bytes: the length, or
 * -errno and "". */
long proc_fd_target(int fd, char *name, size_t cap);

#endif
