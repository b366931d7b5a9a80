/* Directories of layers, by inode: what a descriptor of one, or the working directory, is in the
 * container; and by path: where the last few that were gone through are in the view.
 *
 * Directories of layers never move, and those of the upper are counted when they do: so it is
 * remembered. find, git and rm ask the same descriptor again and again, and fstat costs a tenth of
 * readlink of /proc/self/fd. A miss only costs time. */
#ifndef LPMX_DIRCACHE_H
#define LPMX_DIRCACHE_H

#include "../../base/sys.h"

#define KNOWN_PATH_MAX 216 /* longer paths are not remembered */

struct known_directory {
    uint64_t dev, ino;
    uint64_t moves; /* as uufs_moves said before it was looked for; 0: of a layer */
    uint32_t node;  /* in the view, also where the upper merges with it; or VIEW_NONE */
    uint32_t len;   /* 0: it is not the union's */
    char ctr[KNOWN_PATH_MAX];
};

/* A directory of the union. */
bool dircache_find(uint64_t dev, uint64_t ino, struct known_directory *out);
/* Is it known as one that is not the union's? */
bool dircache_outside(uint64_t dev, uint64_t ino);
/* May be interrupted: an entry that a signal handler leaves half written by longjmp is lost to all
 * others, which only costs time. */
void dircache_put(uint64_t dev, uint64_t ino, uint64_t moves, const char *ctr, uint32_t node);

#define KNOWN_ABSENT   0xfffffffeu /* a node: there is no such directory */
#define KNOWN_TEXT_MAX 116         /* longer paths are not remembered */

/* The node of the directory that the first @len bytes of the absolute @path name, KNOWN_ABSENT, or
 * VIEW_NONE when that is not remembered. */
uint32_t dircache_node(const char *path, size_t len);
/* May be interrupted, as dircache_put. */
void dircache_put_node(const char *path, size_t len, uint32_t node);

#endif
