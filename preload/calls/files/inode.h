/* Which inode a directory shows. */
#ifndef LPMX_INODE_H
#define LPMX_INODE_H

#include "../../uufs/uufs.h"

#include <sys/stat.h>

extern bool inode_has_copies; /* has inode_note_copy been called? */
/* A lower file that this process has looked at is copied up because it is watched: it goes on
 * showing the inode that it had. */
void inode_note_copy(const struct stat *copy, const struct stat *lower);
void inode_show_copy(struct stat *st);

/* @st as the kernel gave it of the file that @hit is. */
void inode_show(const struct uufs_hit *hit, struct stat *st);
/* Is what @fd (AT_FDCWD too) means, with the metadata @st, a directory in which upper and layers
 * are merged by now? Then *@hit is that. */
bool inode_merged(int fd, const struct stat *st, struct uufs_hit *hit);

#endif
