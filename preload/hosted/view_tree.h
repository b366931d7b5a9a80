/* Inside the view builder: the tree that view_build.c fills, view_merge.c changes and view_write.c
 * writes. */
#ifndef LPMX_VIEW_TREE_H
#define LPMX_VIEW_TREE_H

#include "../view/view.h"

/* A node of the tree; index 0 is the root. What only the file has of a node holds other things
 * meanwhile: link the importer's number of the content; name, first_child and n_children, when the
 * file is made, the node's own number and its children's. */
struct item {
    struct view_node node;
    char *name;
    char *link;
    uint32_t first, next, prev; /* children, siblings */
    uint32_t bucket_next;
    uint32_t hash;
    bool alive;
    bool hides; /* its name is removed from the layers below: a whiteout, or an opaque folder */
};

struct vb_names; /* names lie one behind the other: a million of them is not a million mallocs */

struct vb {
    struct vb_names *names;
    struct item *items;
    uint32_t n, cap;
    uint32_t *buckets; /* (parent, name) -> item; a power of two */
    uint32_t n_buckets;
    struct view_layer *layers;
    uint32_t n_layers;
};

/* A name as it is ordered among its siblings. */
struct child {
    uint32_t item, hash;
    const char *name;
    uint32_t len;
};

#endif
