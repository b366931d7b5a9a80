/* Directories that a program stands in or holds open, but to which no path leads any more: one
 * above has lost its search permission. For a call that failed by that, the thread takes them as
 * anchors: host paths of what is below begin at the kernel's link of the directory, those of what
 * is above or beside go up from it, and the way down to it is not asked for. */
#ifndef LPMX_ANCHOR_H
#define LPMX_ANCHOR_H

#include "proclink.h"
#include "uufs.h"

#define ANCHORS 2 /* of a call: rename and link name two places */

struct uufs_anchor {
    uint32_t len;  /* of ctr; 0: unused */
    int bind;      /* in which it is, -1: the union */
    bool in_upper; /* else it is a layer's alone */
    char link[PROC_LINK_SIZE];
    char ctr[LPMX_PATH_MAX];
};

/* ANCHORS of them for the calling thread, to be filled in; NULL: others have them all. */
struct uufs_anchor *anchors_take(struct uufs *fs);
/* The calling thread's, if it has any. Before a signal's handler may run, since that may not
 * return.
 */
void anchors_drop(struct uufs *fs);
/* The host path of @ctr in the bind @bind (-1: in the upper) by way of an anchor: its length, or
 * -errno; 0: there is none for it. @host: the plain path. */
long anchors_path(const struct uufs *fs, int bind, const char *ctr, size_t len, char *host);
/* Is @ctr in the upper, by what the anchors say, where the disk does not? 1, or 0: not known. */
int anchors_prove(const struct uufs *fs, const char *ctr, size_t len);

#endif
