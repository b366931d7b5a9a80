/* Where walks stood lately: directories of the union with what a walk knows in them, so that the
 * next one to a name in the same directory begins there instead of at the root, where each
 * component that may be in the upper costs a system call.
 *
 * An entry is good as long as no directory of the upper has left its place since (the moves, see
 * dirty.c) and the upper has still nothing of the part of the path that it had nothing of (the
 * dirty map). Without a map nothing is remembered. */
#ifndef LPMX_WALKCACHE_H
#define LPMX_WALKCACHE_H

#include "../uufs.h"

#define PLACE_COUNT    16
#define PLACE_TEXT_MAX 112 /* longer paths are not remembered */

struct uufs_place {
    uint64_t moves; /* as they were before the walk began */
    uint32_t depth;
    uint32_t node, node_depth, upper_depth, tree_depth; /* as struct walk has them */
    uint32_t bare_len; /* bytes of the path up to its first component that the upper has not; 0:
                          it has all */
};

/* A process's own. All zero at first. */
struct uufs_places {
    struct uufs_place_entry {
        uint32_t sequence; /* see seqlock.h */
        uint32_t len;
        struct uufs_place place;
        char text[PLACE_TEXT_MAX];
    } entries[PLACE_COUNT];
};

/* The place of the canonical directory @ctr, if it is remembered and good. @moves: as they are. */
bool walkcache_find(const struct uufs *fs, const char *ctr, size_t len, uint64_t moves,
                    struct uufs_place *out);
void walkcache_put(const struct uufs *fs, const char *ctr, size_t len,
                   const struct uufs_place *place);

#endif
