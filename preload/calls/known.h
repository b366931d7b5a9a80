/* Directories of layers by inode: what a descriptor of one, or the working directory, is in the
 * container.
 *
 * Directories of layers never move, so it is remembered: find, git and rm ask the same descriptor
 * again and again, and fstat costs a tenth of readlink of /proc/self/fd. A miss only costs time. */
#ifndef LPMX_KNOWN_H
#define LPMX_KNOWN_H

#include "../engine.h"

#define KNOWN_PATH_MAX 216 /* longer paths are not remembered */

struct known_directory {
    uint64_t dev, ino;
    uint32_t node; /* in the view, or VIEW_NONE */
    uint32_t len;
    char ctr[KNOWN_PATH_MAX];
};

bool known_find(uint64_t dev, uint64_t ino, struct known_directory *out);
/* May be interrupted: an entry that a signal handler leaves half written by longjmp is lost to all
 * others, which only costs time. */
void known_put(uint64_t dev, uint64_t ino, const char *ctr, uint32_t node);

#endif
