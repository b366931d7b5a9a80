/* The view: one read-only, mmap-able file that holds a tree of names with their metadata.
 *
 * Two uses of one format. A *layer view* lists one layer and may hold whiteouts and opaque
 * directories; an *image view* is the merge of a chain of layers and holds neither. Layers never
 * change, so a view is never searched on disk at run time and a miss costs no system call.
 *
 * The file is little-endian, position independent and untrusted: view_open checks the header and
 * that the tables lie in the file, every accessor checks the index it is given. Layout: header,
 * layers[], nodes[], hashes[], bytes[]. Node 0 is the root. Children of a directory are contiguous
 * nodes sorted by (hash, name), so a lookup is a search in a run of 32-bit hashes. bytes[] holds
 * names and link targets, each followed by NUL. */
#ifndef LPMX_VIEW_H
#define LPMX_VIEW_H

#include "../base/sys.h"

#define VIEW_API __attribute__((visibility("default"))) /* called from Python */

#define VIEW_MAGIC   "LPMXVIEW"
#define VIEW_VERSION 1u
#define VIEW_NONE    0xffffffffu /* no such node */

enum view_node_flags {
    VIEW_WHITEOUT = 1, /* layer view only: the name is removed from the layers below */
    VIEW_OPAQUE = 2,   /* layer view only: nothing of the layers below shows in this directory */
    VIEW_IMPLICIT = 4, /* the layer has no entry for this directory, only for things in it */
};

struct view_layer {
    uint8_t diff_id[32]; /* sha256 of the uncompressed layer */
    uint64_t root_ino;   /* inode of the layer's root directory when extracted: a copied store is
                            noticed by it */
};

struct view_node { /* 120 bytes */
    uint32_t parent;
    uint32_t first_child, n_children; /* directories only */
    uint32_t name, name_len;          /* in bytes[] */
    uint32_t link, link_len;          /* symlink target in bytes[] */
    uint32_t layer;                   /* topmost layer that holds it: where its bytes are on disk */
    uint32_t mode; /* as on disk: type and permission bits, never setuid/setgid */
    uint32_t tar_mode, tar_uid, tar_gid; /* as in the layer's archive */
    uint32_t nlink, flags;
    uint32_t rdev;     /* device number as in the archive; on disk a device node is an empty file */
    uint32_t uid, gid; /* as on disk */
    uint32_t mtime_ns, ctime_ns;
    uint32_t reserved;
    int64_t mtime, ctime;
    uint64_t size, ino, blocks; /* blocks of 512 bytes */
};

struct view_header {
    char magic[8];
    uint32_t version, header_size;
    uint64_t file_size;
    uint32_t n_layers, n_nodes;
    uint64_t layers, nodes, hashes, bytes,
        bytes_size; /* file offsets; hashes is uint32_t[n_nodes] */
    uint8_t chain_id[32];
};

struct view {
    const struct view_header *header;
    const struct view_layer *layers;
    const struct view_node *nodes;
    const uint32_t *hashes;
    const char *bytes;
    uint32_t n_nodes, n_layers;
    uint64_t bytes_size;
};

/* Use the @size bytes at @map as a view. 0, or -EBADMSG when it is damaged or of another version.
 * Allocates nothing. */
VIEW_API int view_open(struct view *view, const void *map, uint64_t size);

/* FNV-1a of a name, folded to 32 bits: the order of children and the listing order. */
uint32_t view_hash(const char *name, size_t len);
#define VIEW_HASH_START      2166136261u
#define VIEW_HASH_STEP(h, c) (((h) ^ (unsigned char)(c)) * 16777619u)

/* The child @name of directory @dir, or VIEW_NONE. */
VIEW_API uint32_t view_child(const struct view *view, uint32_t dir, const char *name, size_t len);
/* The same where the hash of the name is known. */
uint32_t view_child_hashed(const struct view *view, uint32_t dir, const char *name, size_t len,
                           uint32_t hash);

/* The node at index @i, or NULL when out of range. */
static inline const struct view_node *
view_node(const struct view *view, uint32_t i)
{
    return i < view->n_nodes ? &view->nodes[i] : (const struct view_node *)0;
}

/* Name (or link target) of @node as NUL-terminated bytes. When the offsets lie outside the file or
 * the length is none that a name or target can have: LPMX_PATH_MAX zeros, so that reading name_len
 * or link_len bytes stays in bounds for callers that check the length against their buffer
 * (LPMX_NAME_MAX, LPMX_PATH_MAX). */
VIEW_API const char *view_name(const struct view *view, const struct view_node *node);
VIEW_API const char *view_link(const struct view *view, const struct view_node *node);

#endif
