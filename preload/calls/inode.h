/* Which inode a directory shows. */
#ifndef LPMX_INODE_H
#define LPMX_INODE_H

#include "../engine.h"

#include <sys/stat.h>

/* @st as the kernel gave it of the file that @hit is. */
void inode_show(const struct uufs_hit *hit, struct stat *st);
/* Is what @fd (AT_FDCWD too) means, with the metadata @st, a directory in which upper and layers
 * are merged by now? Then *@hit is that. */
bool inode_merged(int fd, const struct stat *st, struct uufs_hit *hit);

#endif
