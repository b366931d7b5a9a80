/* A walk on its way, shared by walk.c and the files that take its steps. Private to uufs/. */
#ifndef LPMX_WALK_H
#define LPMX_WALK_H

#include "uufs.h"

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
    uint64_t moves;                  /* see places.h; 0: remember nothing */
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

/* ---- walkhost.c: hit->host of hit->ctr ---- */
int hit_compose(struct uufs_hit *hit, const char *prefix, size_t prefix_len, const char *tail,
                size_t tail_len);
int hit_in_upper(const struct uufs *fs, struct uufs_hit *hit);
int hit_in_layer(const struct uufs *fs, struct uufs_hit *hit, uint32_t node);
int hit_in_bind(const struct uufs *fs, struct uufs_hit *hit);

/* ---- walkbind.c ---- */
int walk_enter_bind(struct walk *w, int bind);
/* A component below a bind. 1: it is a symlink to follow, its target is in w->target. */
long walk_in_bind(struct walk *w, bool last);
/* The walk ends below a bind: hit->host, and whether that can be changed. 0 or -errno. */
int walk_finish_in_bind(struct walk *w);
/* UUFS_NO_XDEV: does it still stand on the same mount? 0 or -EXDEV. */
int walk_check_mount(struct walk *w);

/* ---- walkunion.c ---- */
int walk_in_union(struct walk *w, const char *name, size_t len, bool last, int seed);
/* The target of the symlink the walk stands on, at *target; its length or -errno. */
long walk_read_link(struct walk *w, const char **target);

#endif
