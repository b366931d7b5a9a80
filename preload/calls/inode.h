/* Which inode a directory shows. */
#ifndef LPMX_INODE_H
#define LPMX_INODE_H

#include "../engine.h"

#include <sys/stat.h>

/* @st as the kernel gave it: of the file that @hit is, or of the descriptor @fd (AT_FDCWD too). */
void inode_show(const struct uufs_hit *hit, struct stat *st);
void inode_show_fd(int fd, struct stat *st);

#endif
