/* Reading a view. The file is mapped, not parsed: view_open checks that the tables lie in it, and every index taken
 * from it is checked where it is used, so a damaged file gives wrong names but never a wild access. */
#include "view.h"

static bool
table_fits(const struct view_header *h, uint64_t at, uint64_t count, uint64_t size)
{
    return at % 4 == 0 && at >= sizeof(*h) && at <= h->file_size && count <= (h->file_size - at) / size;
}

int
view_open(struct view *view, const void *map, uint64_t size)
{
    const struct view_header *h = map;

    if (size < sizeof(*h) || memcmp(h->magic, VIEW_MAGIC, sizeof(h->magic)) || h->version != VIEW_VERSION ||
        h->header_size != sizeof(*h) || h->file_size != size || !h->n_nodes || h->n_nodes == VIEW_NONE)
        return -EBADMSG;
    if (!table_fits(h, h->layers, h->n_layers, sizeof(struct view_layer)) ||
        !table_fits(h, h->nodes, h->n_nodes, sizeof(struct view_node)) || h->nodes % 8 ||
        !table_fits(h, h->hashes, h->n_nodes, sizeof(uint32_t)) || !table_fits(h, h->bytes, h->bytes_size, 1))
        return -EBADMSG;
    if (!h->bytes_size || ((const char *)map)[h->bytes + h->bytes_size - 1] != '\0')
        return -EBADMSG;
    view->header = h;
    view->layers = (const void *)((const char *)map + h->layers);
    view->nodes = (const void *)((const char *)map + h->nodes);
    view->hashes = (const void *)((const char *)map + h->hashes);
    view->bytes = (const char *)map + h->bytes;
    view->n_nodes = h->n_nodes;
    view->n_layers = h->n_layers;
    view->bytes_size = h->bytes_size;
    return 0;
}

uint32_t
view_hash(const char *name, size_t len)
{
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < len; i++)
        h = (h ^ (uint8_t)name[i]) * 16777619u;
    return h;
}

static const char *
bytes_at(const struct view *view, uint32_t off, uint32_t len)
{
    if (off >= view->bytes_size || len >= view->bytes_size - off || view->bytes[off + len] != '\0')
        return "";
    return view->bytes + off;
}

const char *
view_name(const struct view *view, const struct view_node *node)
{
    return bytes_at(view, node->name, node->name_len);
}

const char *
view_link(const struct view *view, const struct view_node *node)
{
    return bytes_at(view, node->link, node->link_len);
}

static bool
name_is(const struct view *view, uint32_t i, const char *name, size_t len)
{
    const struct view_node *n = &view->nodes[i];

    return n->name_len == len && !memcmp(view_name(view, n), name, len);
}

uint32_t
view_child(const struct view *view, uint32_t dir, const char *name, size_t len)
{
    const struct view_node *d = view_node(view, dir);
    uint32_t hash = view_hash(name, len), low, high, end;

    if (!d || d->first_child >= view->n_nodes || d->n_children > view->n_nodes - d->first_child)
        return VIEW_NONE;
    low = d->first_child;
    end = high = low + d->n_children;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (view->hashes[middle] < hash)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < end && view->hashes[low] == hash; low++)
        if (name_is(view, low, name, len))
            return low;
    return VIEW_NONE;
}
