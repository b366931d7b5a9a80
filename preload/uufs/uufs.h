/* UUFS, the userspace union file system: what a container path is on the host, and how the union is
 * changed.
 *
 * A root is: an image view over read-only layers, at most one writable upper directory, and binds.
 * Whiteouts in the upper are OCI's: `.wh.NAME` hides NAME of the layers, `.wh..wh..opq` in a
 * directory hides everything the layers have in it, so the upper *is* the next layer. A name that
 * is present in the upper wins over its own whiteout, which lets a change be ordered so that no
 * moment shows a wrong tree. Container programs never see or make these; what they call `.wh.NAME`
 * has another name on the disk (escape.c).
 *
 * No allocation, no libc; 0 or negative errno; buffers are the caller's. */
#ifndef LPMX_UUFS_H
#define LPMX_UUFS_H

#include "../view/view.h"

struct uufs_places;

enum uufs_bind_flags {
    UUFS_BIND_RO = 1,         /* writes answer EROFS */
    UUFS_BIND_FILE = 2,       /* a single file, not a directory */
    UUFS_BIND_PROC = 4,       /* /proc: the magic links are translated */
    UUFS_BIND_SEED = 8,       /* a file shown as if a layer held it: the first write copies it up
                                 (generated /etc/passwd) */
    UUFS_BIND_COMMANDS = 64,  /* programs here may be rows of the plan's exec map */
    UUFS_BIND_NO_LINKS = 128, /* holds no symlink and never will: only a path's end is looked at */
    UUFS_BIND_LINK = 256      /* the last name of its source, a directory, is a symlink */
};

struct uufs_bind { /* as it stands in the plan */
    uint32_t dst, dst_len;
    uint32_t src, src_len;
    uint32_t flags;
};

struct uufs_string { /* as it stands in the plan: a NUL-terminated string at offset @off */
    uint32_t off, len;
};

struct uufs {
    const char *strings; /* base of every offset below: the mapped plan */
    struct view view;
    const struct uufs_string *layers; /* host root of each layer of the view, same order */
    uint32_t n_layers;
    const struct uufs_string
        *stores; /* host prefixes "STORE/layers": STORE/layers/HEX/fs/x is x in the container */
    uint32_t n_stores;
    const struct uufs_bind *binds;
    uint32_t n_binds;
    uint64_t bind_lengths; /* bit dst_len % 64 of each bind: uufs_note_binds */
    const char *upper;     /* host directory, NULL when there is none (then everything but binds is
                              read-only) */
    uint32_t upper_len;
    const char *
        work; /* host directory on the upper's file system, for temporaries; not inside the upper */
    uint32_t work_len;
    bool extras_beside; /* keep what belongs to a file in WORK even where it could have attributes
                         */
    bool read_only;     /* --read-only: the union answers EROFS, binds keep their own rule */
    int (*proc_exe)(const char *host, char *ctr,
                    size_t cap); /* container path of a /proc/PID/exe link; may be NULL */
    const char *(*root)(void);   /* where the calling process's "/" is, NULL or it answers NULL: at
                                    the root; for UUFS_ROOTED walks */
    int (*may_search)(const struct view_node *lower, const char *upper); /* of a directory that is a
                                    layer's alone, else of its host path: 0, or -EACCES */
    uint64_t *dirty;            /* shared bitmap, see dirty.c; NULL: always probe the upper */
    uint32_t dirty_bits;        /* a power of two */
    uint64_t *moves;            /* in the map's head; NULL: an older one, without */
    uint32_t anchored;          /* threads that have anchors, see anchor.h */
    struct uufs_places *places; /* see walkcache.h; NULL: none are kept. Only with moves. */
};

enum uufs_where {
    UUFS_ABSENT, /* the parent exists, the name does not */
    UUFS_LOWER,
    UUFS_UPPER,
    UUFS_BIND,
};

#define UUFS_NO_NAME (-2) /* as in a bind, but too deep for a name: see calls/paths/longpath.c */

enum uufs_how {
    UUFS_FOLLOW = 1,  /* follow a symlink in the last component */
    UUFS_MISSING = 2, /* an absent last component is a hit with where == UUFS_ABSENT, not -ENOENT */
    UUFS_LAST = 4,  /* never follow the last component, not even before a trailing slash, and leave
                       it to the caller what such a slash means: rmdir, rename, mkdir */
    UUFS_PLAIN = 8, /* uufs_lookup: no bind and no symlink plays a part */
    UUFS_CANONICAL =
        16, /* every component is known to be a directory and no symlink (the base of a walk) */
    UUFS_ROOTED = 32,  /* a program's own path: it counts from fs->root */
    UUFS_GUARDED = 64, /* its program may not search every directory: fs->may_search is asked */
    UUFS_ASKED =
        4096, /* what is known without the disk is refused where the disk would refuse it */
    /* as RESOLVE_* of openat2(2) */
    UUFS_NO_SYMLINKS = 128,
    UUFS_NO_MAGIC = 256,
    UUFS_NO_XDEV = 512,  /* each bind is a mount */
    UUFS_BENEATH = 1024, /* -EXDEV where it would leave the base */
    UUFS_IN_ROOT = 2048, /* the base is "/" */
    UUFS_SCOPED = UUFS_BENEATH | UUFS_IN_ROOT,
    UUFS_RESOLVE = UUFS_NO_SYMLINKS | UUFS_NO_MAGIC | UUFS_NO_XDEV | UUFS_SCOPED,
};

struct uufs_hit {
    enum uufs_where where;
    uint32_t
        node;         /* the view's node of this name where the upper does not replace it or only
                         merges a directory    with it (then where may be UUFS_UPPER); else VIEW_NONE */
    bool lower_name;  /* the parent's lower directory holds this name (visible or not): removing
                         needs a whiteout */
    bool in_union;    /* false below a bind */
    bool read_only;   /* changing it answers EROFS */
    bool must_be_dir; /* the path ended in "/" or "/." */
    bool magic;    /* a /proc magic link to be followed by the kernel (fd/N of a pipe, a file of the
                      host ...) */
    int bind;      /* index into binds, -1, or UUFS_NO_NAME */
    uint32_t type; /* S_IFMT bits when known, else 0; S_IFLNK only without UUFS_FOLLOW */
    uint32_t ctr_len, host_len;
    char ctr[LPMX_PATH_MAX];  /* canonical container path: absolute, no symlink, no ".", no ".." */
    char host[LPMX_PATH_MAX]; /* host path of it; when absent, the path to create it at (its parent
                                 may need uufs_make_parents first) */
};

#endif
