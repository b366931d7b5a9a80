/* Reading a view: checks of the file, and the lookup of one name.
 *
 * Nothing in the file is believed. view_open checks what every access relies on, the tables; what
 * one node says is checked when it is used, so that opening costs the same for ten names and for a
 * million. */
#include "view.h"

#include "../base/libc.h"

#include <sys/stat.h>

HOT_FILE;

_Static_assert(sizeof(struct view_node) == 120, "the layout of a node is the file format");
_Static_assert(sizeof(struct view_layer) == 40, "the layout of a layer is the file format");
_Static_assert(sizeof(struct view_header) == 104, "the layout of the header is the file format");

/* What a damaged name or target reads as. As long as the longest of them, for callers that copy by
 * its length. (Never written; const it would take a page of the file, among what each start reads.)
 */
static char nothing[LPMX_PATH_MAX];

/* Does a table of @n entries of @entry bytes at @off lie in the file, behind the header? */
static bool
table_fits(uint64_t off, uint64_t n, uint64_t entry, uint64_t align, uint64_t size)
{
    return off >= sizeof(struct view_header) && off <= size && off % align == 0 &&
           n <= (size - off) / entry;
}

int
view_open(struct view *view, const void *map, uint64_t size)
{
    const struct view_header *h = map;
    const char *base = map;

    if (size < sizeof(*h) || (uintptr_t)map % _Alignof(struct view_node) ||
        memcmp(h->magic, VIEW_MAGIC, sizeof(h->magic)) || h->version != VIEW_VERSION ||
        h->header_size != sizeof(*h) || h->file_size != size)
        return -EBADMSG;
    if (h->n_nodes == 0 || h->n_nodes == VIEW_NONE || h->bytes_size == 0 ||
        !table_fits(h->layers, h->n_layers, sizeof(*view->layers), 8, size) ||
        !table_fits(h->nodes, h->n_nodes, sizeof(*view->nodes), 8, size) ||
        !table_fits(h->hashes, h->n_nodes, sizeof(*view->hashes), 4, size) ||
        !table_fits(h->bytes, h->bytes_size, 1, 1, size))
        return -EBADMSG;

    view->header = h;
    view->layers = (const struct view_layer *)(base + h->layers);
    view->nodes = (const struct view_node *)(base + h->nodes);
    view->hashes = (const uint32_t *)(base + h->hashes);
    view->bytes = base + h->bytes;
    view->n_nodes = h->n_nodes;
    view->n_layers = h->n_layers;
    view->bytes_size = h->bytes_size;
    if (!S_ISDIR(view->nodes[0].mode))
        return -EBADMSG;
    return 0;
}

uint32_t
view_hash(const char *name, size_t len)
{
    uint32_t hash = VIEW_HASH_START;

    for (size_t i = 0; i < len; i++)
        hash = VIEW_HASH_STEP(hash, name[i]);
    return hash;
}

static const char *
bytes_at(const struct view *view, uint32_t off, uint32_t len, uint32_t max)
{
    if (len > max || (uint64_t)off + len >= view->bytes_size || view->bytes[(uint64_t)off + len])
        return nothing;
    return view->bytes + off;
}

const char *
view_name(const struct view *view, const struct view_node *node)
{
    return bytes_at(view, node->name, node->name_len, LPMX_NAME_MAX);
}

const char *
view_link(const struct view *view, const struct view_node *node)
{
    return bytes_at(view, node->link, node->link_len, LPMX_PATH_MAX - 1);
}

/* The first of the sorted hashes [low, low + n) that is not below @want, as an index; low + n when
 * there is none. Hashes are spread evenly, so the place is guessed from the value; a run that is
 * not (or not sorted: nothing in the file is believed) is bisected after a few guesses. */
static uint32_t
find_hash(const uint32_t *hashes, uint32_t low, uint32_t n, uint32_t want)
{
    uint32_t first = low, high = low + n;
    int64_t guess = (int64_t)low + (int64_t)((uint64_t)want * n >> 32);

    for (int tries = 0; low < high; tries++) {
        uint32_t at, hash;

        if (tries >= 6)
            guess = low + (high - low) / 2;
        at = guess < low ? low : guess >= high ? high - 1 : (uint32_t)guess;
        hash = hashes[at];
        if (hash == want) {
            while (at > first && hashes[at - 1] == want)
                at--;
            return at;
        }
        if (hash < want)
            low = at + 1;
        else
            high = at;
        guess = at + (((int64_t)want - hash) * n >> 32);
    }
    return low;
}

uint32_t
view_child_hashed(const struct view *view, uint32_t dir, const char *name, size_t len,
                  uint32_t hash)
{
    const struct view_node *parent = view_node(view, dir);
    uint32_t at, end;

    /* Children come after their parent: whatever a file claims, going down ends. */
    if (len > LPMX_NAME_MAX || !parent || !parent->n_children || parent->first_child <= dir ||
        parent->first_child >= view->n_nodes ||
        parent->n_children > view->n_nodes - parent->first_child)
        return VIEW_NONE;
    end = parent->first_child + parent->n_children;
    at = find_hash(view->hashes, parent->first_child, parent->n_children, hash);
    for (; at < end && view->hashes[at] == hash; at++) {
        const struct view_node *node = &view->nodes[at];

        if (node->name_len == len && !memcmp(view_name(view, node), name, len))
            return at;
    }
    return VIEW_NONE;
}

uint32_t
view_child(const struct view *view, uint32_t dir, const char *name, size_t len)
{
    return view_child_hashed(view, dir, name, len, view_hash(name, len));
}
