/* A tree as a view file: breadth first, so that the children of a directory lie side by side. */
#include "view_write.h"

#include "../base/libc.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int
child_compare(const void *a, const void *b)
{
    const struct child *x = a, *y = b;
    uint32_t len = x->len < y->len ? x->len : y->len;
    int order;

    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    order = memcmp(x->name, y->name, len);
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

/* The items in the order of the file. The nodes themselves are made as they are written: a million
 * of them would be as large as the tree. */
struct output {
    uint32_t *order; /* node index -> item */
    uint32_t n;
};

#define CHUNK 4096 /* nodes, hashes or bytes of names that are written at once */

struct sorted {
    uint32_t item, hash;
};

static int
sorted_compare(const void *a, const void *b, void *tree)
{
    const struct sorted *x = a, *y = b;
    const struct vb *vb = tree;
    const struct item *left = &vb->items[x->item], *right = &vb->items[y->item];

    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return child_compare(&(struct child){x->item, x->hash, left->name, left->node.name_len},
                         &(struct child){y->item, y->hash, right->name, right->node.name_len});
}

/* Number the tree breadth first, children sorted. */
static int
number_tree(struct vb *vb, struct output *o)
{
    struct sorted *children = NULL;
    uint32_t cap = 0;

    o->order[0] = 0;
    o->n = 1;
    for (uint32_t i = 0; i < o->n; i++) {
        struct item *dir = &vb->items[o->order[i]];
        uint32_t n = 0;

        for (uint32_t k = dir->first; k != VIEW_NONE; k = vb->items[k].next) {
            if (n == cap) {
                cap = cap ? cap * 2 : 256;
                struct sorted *more = realloc(children, cap * sizeof(*children));

                if (!more) {
                    free(children);
                    return -ENOMEM;
                }
                children = more;
            }
            children[n++] = (struct sorted){k, vb->items[k].hash};
        }
        if (n > 1)
            qsort_r(children, n, sizeof(*children), sorted_compare, vb);
        dir->node.name = i;
        dir->node.first_child = n ? o->n : 0;
        dir->node.n_children = n;
        for (uint32_t k = 0; k < n; k++)
            o->order[o->n++] = children[k].item;
    }
    free(children);
    return 0;
}

static int
write_all(int fd, const void *data, uint64_t size)
{
    const char *p = data;

    while (size) {
        ssize_t n = write(fd, p, size);

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0)
            return -EIO;
        if (n > 0) {
            p += n;
            size -= (uint64_t)n;
        }
    }
    return 0;
}

/* Node @i; its name begins at *@at of the bytes, which goes on behind it and the link. */
static void
fill_node(const struct vb *vb, const struct output *o, uint32_t i, struct view_node *n,
          uint32_t *at)
{
    const struct item *it = &vb->items[o->order[i]];

    *n = it->node;
    n->parent = vb->items[n->parent].node.name;
    n->name = *at;
    *at += n->name_len + 1;
    n->link = it->link ? *at : n->name + n->name_len;
    if (it->link)
        *at += n->link_len + 1;
    if (it->hides && !(n->flags & VIEW_WHITEOUT) && S_ISDIR(n->mode))
        n->flags |= VIEW_OPAQUE;
}

static int
write_nodes(const struct vb *vb, const struct output *o, int fd)
{
    struct view_node *nodes = malloc(CHUNK * sizeof(*nodes));
    uint32_t at = 0, n = 0;
    int err = nodes ? 0 : -ENOMEM;

    for (uint32_t i = 0; i < o->n && !err; i++) {
        fill_node(vb, o, i, &nodes[n++], &at);
        if (n == CHUNK || i + 1 == o->n) {
            err = write_all(fd, nodes, n * sizeof(*nodes));
            n = 0;
        }
    }
    free(nodes);
    return err;
}

static int
write_hashes(const struct vb *vb, const struct output *o, int fd)
{
    uint32_t hashes[CHUNK], n = 0;
    int err = 0;

    for (uint32_t i = 0; i < o->n && !err; i++) {
        hashes[n++] = vb->items[o->order[i]].hash;
        if (n == CHUNK || i + 1 == o->n) {
            err = write_all(fd, hashes, n * sizeof(*hashes));
            n = 0;
        }
    }
    return err;
}

static int
write_bytes(const struct vb *vb, const struct output *o, int fd)
{
    char *bytes = malloc(CHUNK + LPMX_NAME_MAX + LPMX_PATH_MAX + 2);
    size_t n = 0;
    int err = bytes ? 0 : -ENOMEM;

    for (uint32_t i = 0; i < o->n && !err; i++) {
        const struct item *it = &vb->items[o->order[i]];

        memcpy(bytes + n, it->name, it->node.name_len + 1);
        n += it->node.name_len + 1;
        if (it->link) {
            memcpy(bytes + n, it->link, it->node.link_len + 1);
            n += it->node.link_len + 1;
        }
        if (n >= CHUNK || i + 1 == o->n) {
            err = write_all(fd, bytes, n);
            n = 0;
        }
    }
    free(bytes);
    return err;
}

static int
write_output(const struct vb *vb, const struct output *o, int fd, const uint8_t chain_id[32],
             uint64_t n_bytes)
{
    static const char padding[8];
    struct view_header h = {.magic = VIEW_MAGIC, .version = VIEW_VERSION, .header_size = sizeof(h)};
    uint64_t layers_size = vb->n_layers * sizeof(struct view_layer), pad = (8 - n_bytes % 8) % 8;
    int err;

    h.n_layers = vb->n_layers;
    h.n_nodes = o->n;
    h.layers = sizeof(h);
    h.nodes = h.layers + layers_size;
    h.hashes = h.nodes + o->n * sizeof(struct view_node);
    h.bytes = h.hashes + o->n * sizeof(uint32_t);
    h.bytes_size = n_bytes + pad;
    h.file_size = h.bytes + h.bytes_size;
    memcpy(h.chain_id, chain_id, sizeof(h.chain_id));
    err = write_all(fd, &h, sizeof(h));
    if (!err)
        err = write_all(fd, vb->layers, layers_size);
    if (!err)
        err = write_nodes(vb, o, fd);
    if (!err)
        err = write_hashes(vb, o, fd);
    if (!err)
        err = write_bytes(vb, o, fd);
    return err ? err : write_all(fd, padding, pad);
}

static uint64_t
count_bytes(const struct vb *vb, uint64_t *alive)
{
    uint64_t total = 0;

    *alive = 0;
    for (uint32_t i = 0; i < vb->n; i++) {
        const struct item *it = &vb->items[i];

        if (!it->alive)
            continue;
        ++*alive;
        total += it->node.name_len + 1 + (it->link ? it->node.link_len + 1 : 0);
    }
    return total;
}

int
vb_write(struct vb *vb, int fd, const uint8_t chain_id[32])
{
    struct output o = {0};
    uint64_t n, size = count_bytes(vb, &n);
    int err = -ENOMEM;

    if (size >= UINT32_MAX)
        return -EFBIG;
    o.order = malloc(n * sizeof(*o.order));
    if (o.order)
        err = number_tree(vb, &o);
    if (!err)
        err = write_output(vb, &o, fd, chain_id, size);
    free(o.order);
    return err;
}
