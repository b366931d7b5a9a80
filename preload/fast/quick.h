/* Calls that the view answers without a stack of ours. */
#ifndef LPMX_QUICK_H
#define LPMX_QUICK_H

#include "fast.h"

struct stat;

/* The answer to call @nr with the arguments @a of a function whose stack is @sp, or FAST_DECLINE.
 */
long quick_call(long nr, const unsigned long *a, const void *sp);

/* A merged directory's inode, see calls/inode.c. False: the disk has to be asked. */
bool quick_show_inode(uint32_t node, struct stat *st);
/* Has the upper nothing of the directory @ctr, nor of what is above it? */
bool quick_is_bare(const char *ctr, size_t len);

#endif
