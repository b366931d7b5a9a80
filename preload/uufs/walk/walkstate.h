/* A walk on its way: what walk.c and the files that take its steps share. Private to uufs/. */
#ifndef LPMX_WALKSTATE_H
#define LPMX_WALKSTATE_H

#include "../uufs.h"

#define MAX_LINKS    40           /* as the kernel's MAXSYMLINKS */
#define NO_MOUNT_YET UINT64_MAX   /* walk.mount: the next check takes what it finds */
#define NO_ROOT_WAY  ((size_t)-1) /* walk.way_len: no part of a root is on the way */

/* Where the walk stands: the directory hit->ctr. The union's facts about it are kept as depths, so
 * that `..` is a decrement: the view node belongs to the first node_depth components, the upper has
 * the first upper_depth. */
struct walk {
    const struct uufs *fs;
    struct uufs_hit *hit;
    unsigned how;
    unsigned links;
    uint32_t depth;
    uint32_t node, node_depth;
    uint32_t upper_depth;
    uint32_t tree_depth; /* depth from which everything may be in the upper; 0: nowhere */
    uint32_t bind_depth;
    uint32_t id_depth;               /* of a name below a bind that can be a layer's id; 0: none */
    uint32_t place_depth;            /* what is above is remembered already */
    uint64_t moves;                  /* see walkcache.h; 0: remember nothing */
    const char *root;                /* the process's own, see UUFS_ROOTED; NULL: "/" */
    size_t way_len;                  /* more is left to walk: that is still the way to the root */
    uint64_t mount;                  /* UUFS_NO_XDEV: the one it must stay on */
    bool has_root;                   /* has it come to "/" or asked for it by ".."? */
    const char *rest;                /* what is still to be walked */
    char target[LPMX_PATH_MAX];      /* a symlink's target as just read */
    char pending[2 * LPMX_PATH_MAX]; /* rest lives at its end once a symlink was met */
};

static inline const char *
uufs_text(const struct uufs *fs, uint32_t off)
{
    return fs->strings + off;
}

static inline bool
walk_shows_node(const struct walk *w)
{
    return w->node != VIEW_NONE && w->node_depth == w->depth;
}

#endif
