/* Inside the view builder: the tree that view_build.c fills, view_merge.c changes and view_write.c
 * writes. */
#ifndef LPMX_VIEW_TREE_H
#define LPMX_VIEW_TREE_H

#include "view_build.h"

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

/* The child of @parent for a name of this hash, or VIEW_NONE. */
uint32_t tree_find(const struct vb *vb, uint32_t parent, const char *name, size_t len,
                   uint32_t hash);
int tree_add_child(struct vb *vb, uint32_t parent, const char *name, size_t len, uint32_t hash,
                   uint32_t *index);
void tree_drop_children(struct vb *vb, uint32_t top);
void tree_drop(struct vb *vb, uint32_t i);
/* Give item @i the metadata of @e, which entry_link_ok has passed, and the current layer. */
int tree_set_entry(struct vb *vb, uint32_t i, const struct vb_entry *e);

/* Whatever item @i was: a folder now, with nothing known of it; a whiteout. */
void tree_make_implicit(struct vb *vb, uint32_t i);
void tree_make_whiteout(struct vb *vb, uint32_t i);

bool name_is_clean(const char *name, size_t len);
/* A link needs a target that a kernel would take. */
bool entry_link_ok(const struct vb_entry *e);
/* By hash, then by bytes: the order of children in a view. */
int child_compare(const void *a, const void *b);

#endif
