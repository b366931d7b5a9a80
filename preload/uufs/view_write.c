/* A tree as a view file: breadth first, so that the children of a directory lie side by side. */
#include "view_tree.h"

#ifdef LPMX_HOSTED

#include <stdlib.h>
#include <string.h>
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

struct output {
    uint32_t *order; /* node index -> item */
    struct view_node *nodes;
    uint32_t *hashes;
    char *bytes;
    uint64_t n_bytes;
    uint32_t n;
};

/* Number the tree breadth first, children sorted. */
static int
number_tree(struct vb *vb, struct output *o)
{
    struct child *children = NULL;
    uint32_t cap = 0;

    o->order[0] = 0;
    o->n = 1;
    for (uint32_t i = 0; i < o->n; i++) {
        struct item *dir = &vb->items[o->order[i]];
        uint32_t n = 0;

        for (uint32_t k = dir->first; k != VIEW_NONE; k = vb->items[k].next) {
            if (n == cap) {
                cap = cap ? cap * 2 : 256;
                struct child *more = realloc(children, cap * sizeof(*children));

                if (!more) {
                    free(children);
                    return -ENOMEM;
                }
                children = more;
            }
            children[n++] =
                (struct child){k, vb->items[k].hash, vb->items[k].name, vb->items[k].node.name_len};
        }
        if (n)
            qsort(children, n, sizeof(*children), child_compare);
        o->nodes[i].first_child = n ? o->n : 0;
        o->nodes[i].n_children = n;
        for (uint32_t k = 0; k < n; k++) {
            o->nodes[o->n].parent = i;
            o->order[o->n++] = children[k].item;
        }
    }
    free(children);
    return 0;
}

static uint32_t
put_bytes(struct output *o, const char *s, uint32_t len)
{
    uint32_t at = (uint32_t)o->n_bytes;

    memcpy(o->bytes + at, s, len);
    o->bytes[at + len] = '\0';
    o->n_bytes += len + 1;
    return at;
}

static void
fill_nodes(const struct vb *vb, struct output *o)
{
    for (uint32_t i = 0; i < o->n; i++) {
        const struct item *it = &vb->items[o->order[i]];
        struct view_node n = it->node;

        n.parent = o->nodes[i].parent;
        n.first_child = o->nodes[i].first_child;
        n.n_children = o->nodes[i].n_children;
        n.name = put_bytes(o, it->name, n.name_len);
        n.link = it->link ? put_bytes(o, it->link, n.link_len) : n.name + n.name_len;
        o->nodes[i] = n;
        o->hashes[i] = it->hash;
    }
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

static int
write_output(const struct vb *vb, const struct output *o, int fd, const uint8_t chain_id[32])
{
    static const char padding[8];
    struct view_header h = {.magic = VIEW_MAGIC, .version = VIEW_VERSION, .header_size = sizeof(h)};
    uint64_t layers_size = vb->n_layers * sizeof(struct view_layer), pad;
    int err;

    h.n_layers = vb->n_layers;
    h.n_nodes = o->n;
    h.layers = sizeof(h);
    h.nodes = h.layers + layers_size;
    h.hashes = h.nodes + o->n * sizeof(struct view_node);
    h.bytes = h.hashes + o->n * sizeof(uint32_t);
    pad = (8 - o->n_bytes % 8) % 8;
    h.bytes_size = o->n_bytes + pad;
    h.file_size = h.bytes + h.bytes_size;
    memcpy(h.chain_id, chain_id, sizeof(h.chain_id));
    err = write_all(fd, &h, sizeof(h));
    if (!err)
        err = write_all(fd, vb->layers, layers_size);
    if (!err)
        err = write_all(fd, o->nodes, o->n * sizeof(struct view_node));
    if (!err)
        err = write_all(fd, o->hashes, o->n * sizeof(uint32_t));
    if (!err)
        err = write_all(fd, o->bytes, o->n_bytes);
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
    o.nodes = calloc(n, sizeof(*o.nodes));
    o.hashes = malloc(n * sizeof(*o.hashes));
    o.bytes = malloc(size);
    if (o.order && o.nodes && o.hashes && o.bytes)
        err = number_tree(vb, &o);
    if (!err) {
        fill_nodes(vb, &o);
        err = write_output(vb, &o, fd, chain_id);
    }
    free(o.order);
    free(o.nodes);
    free(o.hashes);
    free(o.bytes);
    return err;
}

#endif
