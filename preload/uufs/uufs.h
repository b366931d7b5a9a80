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

#include "view.h"

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
    struct uufs_places *places; /* see places.h; NULL: none are kept. Only with moves. */
};

enum uufs_where {
    UUFS_ABSENT, /* the parent exists, the name does not */
    UUFS_LOWER,
    UUFS_UPPER,
    UUFS_BIND,
};

#define UUFS_NO_NAME (-2) /* as in a bind, but too deep for a name: see calls/deep.c */

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

/* ---- open.c ---- */
/* A descriptor of our own on host path @host, close-on-exec: openat, even where the program has
 * used up its soft limit of open files. */
int uufs_open(const char *host, int flags, unsigned mode);

/* ---- walk.c ---- */
/* Find @path, relative to the canonical container directory @base, in the union. -ENOENT, -ENOTDIR,
 * -ELOOP, -ENAMETOOLONG; with UUFS_RESOLVE also -EXDEV, and -EAGAIN: something moved meanwhile. */
int uufs_walk(const struct uufs *fs, const char *base, const char *path, unsigned how,
              struct uufs_hit *hit);
/* As uufs_walk with no symlink followed and binds ignored, for a canonical container path: what the
 * union itself holds. */
int uufs_lookup(const struct uufs *fs, const char *ctr, unsigned how, struct uufs_hit *hit);
/* ---- bind.c ---- */
/* To be called when the binds are known. */
void uufs_note_binds(struct uufs *fs);
/* The bind that lies exactly at @ctr: its index, or -1. */
int uufs_bind_at(const struct uufs *fs, const char *ctr, size_t len);
/* ---- fromhost.c ---- */
/* Container path of a host path (as /proc/self/fd/N or getcwd tell it) into @ctr. -ENOENT when it
 * lies outside. */
int uufs_from_host(const struct uufs *fs, const char *host, char *ctr, size_t cap);
/* Does a host path lie in a layer, where nothing ever moves? */
bool uufs_host_is_lower(const struct uufs *fs, const char *host);
/* What follows in a host path behind the upper or WORK, by whatever name the kernel has for them
 * (alias.h); NULL: it lies elsewhere. */
const char *uufs_below_upper(const struct uufs *fs, const char *host);
const char *uufs_below_work(const struct uufs *fs, const char *host);
/* A magic link of /proc to a file of a layer becomes the file's name in the union; one to anything
 * else (a file without a name, as O_TMPFILE makes it, above all) stays the kernel's to follow.
 * -ENOENT: the file has no name any more. */
int uufs_leave_magic(const struct uufs *fs, struct uufs_hit *hit);

/* ---- dirty.c ---- a shared Bloom filter of upper names: a clear bit proves absence, so the upper
 * is not probed */
#define UUFS_DIRTY_HEAD 16 /* bytes of a map that has a head: no name's */
#define UUFS_DIRTY_ELSEWHERE                                                                       \
    1u                        /* in the first word: somebody writes whose marks are not seen here */
#define UUFS_DIRTY_CLOSED  4u /* there: the upper has a folder that its owner may not search */
#define UUFS_DIRTY_ESCAPES 2u /* there: the upper has a name that is another on the disk */
bool uufs_dirty_test(const struct uufs *fs, const char *ctr, size_t len);
void uufs_dirty_set(const struct uufs *fs, const char *ctr,
                    size_t len); /* before the name appears */
void uufs_dirty_set_tree(const struct uufs *fs, const char *ctr,
                         size_t len); /* whatever lies below may be there */
bool uufs_dirty_test_opaque(const struct uufs *fs, const char *ctr, size_t len);
void uufs_dirty_set_opaque(const struct uufs *fs, const char *ctr,
                           size_t len); /* before the mark */
bool uufs_dirty_test_tree(const struct uufs *fs, const char *ctr, size_t len);
/* Has the upper, as far as we saw, a directory that its owner may not search? */
bool uufs_dirty_has_closed(const struct uufs *fs);
void uufs_dirty_set_closed(const struct uufs *fs); /* before it has */
/* May a path of the upper hold a name that is another on the disk? */
bool uufs_dirty_has_escapes(const struct uufs *fs);
#define WATCH_COPIES_MAX (16 << 20) /* a larger file is not copied up for a watch's sake */
/* Somebody watches the directory @ctr: what is removed from it has to have been in the upper. */
void uufs_watched_set(const struct uufs *fs, const char *ctr, size_t len);
bool uufs_watched_test(const struct uufs *fs, const char *ctr, size_t len);
/* How often a directory of the upper left its place, and one more; 0: not known. */
uint64_t uufs_moves(const struct uufs *fs);
void uufs_moves_add(const struct uufs *fs); /* before one leaves, and after */

/* ---- escape.c ---- */
/* Is the program's @name another on the disk, or one of @path's? */
bool escape_needs(const char *name, size_t len);
bool escape_needs_any(const char *path, size_t len);
/* str_append of a path as the upper has it; @path is a program's. */
int escape_append(char *dst, size_t cap, size_t *len, const char *path, size_t path_len);
/* The program's name of what the upper calls @name, in place: its length, which is no larger. */
size_t escape_undo(char *name, size_t len);
void escape_undo_all(char *path);

/* ---- whiteout.c ---- */
#define WHITEOUT_PREFIX     ".wh."
#define WHITEOUT_PREFIX_LEN 4
#define WHITEOUT_OPAQUE     ".wh..wh..opq"
bool whiteout_is(const char *name, size_t len); /* on the disk: a mark, starts with ".wh." */
/* Is the lower name at container path @ctr hidden by a whiteout in the upper? 1, 0 or -errno. */
int whiteout_test(const struct uufs *fs, const char *ctr, size_t len);
int whiteout_make(const struct uufs *fs, const char *ctr,
                  size_t len); /* parents are in the upper already */
/* Does the upper directory at @ctr carry the opaque mark? 1, 0 or -errno. */
int opaque_test(const struct uufs *fs, const char *ctr, size_t len);
int opaque_make_at(const struct uufs *fs, const char *host_dir, size_t len);

/* ---- copyup.c ---- */
/* Where the layer @layer has @ctr, into @host of LPMX_PATH_MAX bytes. The length or -errno. */
long uufs_layer_path(const struct uufs *fs, uint32_t layer, const char *ctr, size_t len,
                     char *host);
enum uufs_copy_how {
    UUFS_COPY_DATA = 0,
    UUFS_COPY_NO_DATA = 1, /* the caller truncates at once */
};
/* Make the upper hold every parent directory of @ctr (mode, mtime, xattrs of the lower ones kept).
 */
int uufs_make_parents(const struct uufs *fs, const char *ctr, size_t len);
/* Bring a lower hit up, whole and atomically; on success hit->where is UUFS_UPPER and hit->host is
 * the upper's path. An upper or bind hit is left as it is. -EROFS, -ENOSPC ... leave no trace. Two
 * processes may race: one copy wins. */
int uufs_copy_up(const struct uufs *fs, struct uufs_hit *hit, enum uufs_copy_how how);

/* ---- create.c, remove.c, rename.c, link.c ----
 * Hits come from uufs_walk without UUFS_FOLLOW, with UUFS_MISSING where absence is allowed. */
/* Before a new name is created at an absent hit (open O_CREAT, mkdir, symlink, mknod, bind(2),
 * link): -EROFS; else parents are in the upper, the name is noted
 * dirty, and hit->host is where to create it. */
int uufs_prepare_create(const struct uufs *fs, struct uufs_hit *hit);
int uufs_mkdir(const struct uufs *fs, struct uufs_hit *hit, unsigned mode);
int uufs_unlink(const struct uufs *fs, struct uufs_hit *hit);
int uufs_rmdir(const struct uufs *fs, struct uufs_hit *hit);
/* -EINVAL for flags that no file system knows, before any path is looked at. */
int uufs_rename_flags(unsigned flags);
/* renameat2 semantics, flags RENAME_NOREPLACE, RENAME_EXCHANGE or 0 (others -EINVAL). A lower or
 * merged directory answers -EXDEV as overlayfs does without redirect_dir. */
int uufs_rename(const struct uufs *fs, struct uufs_hit *from, struct uufs_hit *to, unsigned flags);
/* linkat; @from may have been walked with UUFS_FOLLOW; magic /proc hits are linked with
 * AT_SYMLINK_FOLLOW. */
int uufs_link(const struct uufs *fs, struct uufs_hit *from, struct uufs_hit *to);

/* ---- readdir.c ---- */
/* getdents64 of the merged directory @ctr, whose lower part is @node (VIEW_NONE: none visible)
 * through descriptor @fd (any host directory of it). The position is the descriptor's own file
 * offset, so seek, dup, fork and exec behave as with a plain directory. Cookies: 0 and 1 are "."
 * and "..", 2+i is child i of the node, then 2 + n_children + a 40-bit hash of the name for names
 * only the upper has, then the end. Directories without a lower part use the kernel's own cookies
 * with whiteouts filtered out. Returns bytes written to @buf, 0 at the end, or -errno (-EINVAL:
 * buffer too small).
 */
long uufs_getdents(const struct uufs *fs, const char *ctr, size_t len, uint32_t node, int fd,
                   void *buf, size_t size);
/* Is @pos the end of a merged directory whose lower part is @node? */
bool uufs_list_ended(const struct view *view, uint32_t node, int64_t pos);
/* getdents64 of a directory that the upper alone has, @fd. @dotdot: the inode to be shown for "..";
 * 0: the disk's. */
long uufs_list_upper(int fd, uint64_t dotdot, void *buf, size_t size);
/* The same for directory @node of which all that shows is in the layers: the records from position
 * *pos on, behind the *used bytes that are in @buf, as far as they fit in its @size. *pos and *used
 * go on with them. False: there are more. Small frames. */
bool uufs_list_lower(const struct view *view, uint32_t node, int64_t *pos, void *buf, size_t *used,
                     size_t size);
/* 1 when the merged directory holds no name, 0 when it does, or -errno. */
int uufs_is_empty(const struct uufs *fs, const char *ctr, size_t len, uint32_t node);

/* ---- lock.c ---- serialises changes that involve a lower name; crash-safe (flock on WORK/lock).
 * Returns a descriptor. */
int uufs_lock(const struct uufs *fs);
void uufs_unlock(int lock);

#endif
