/* Where a hit is on the host: in the upper, in a layer, below a bind. */
#include "walkhost.h"

#include "../../base/str.h"
#include "../anchor.h"
#include "../upper.h"
#include "walkstate.h"

HOT_FILE;

int
hit_compose(struct uufs_hit *hit, const char *prefix, size_t prefix_len, const char *tail,
            size_t tail_len)
{
    size_t len = 0;
    int err = str_append(hit->host, sizeof(hit->host), &len, prefix, prefix_len);

    if (!err)
        err = str_append(hit->host, sizeof(hit->host), &len, tail, tail_len);
    hit->host_len = (uint32_t)len;
    return err;
}

int
hit_in_upper(const struct uufs *fs, struct uufs_hit *hit)
{
    return fs->upper ? upper_take(fs, hit) : hit_compose(hit, "", 0, hit->ctr, hit->ctr_len);
}

int
hit_in_layer(const struct uufs *fs, struct uufs_hit *hit, uint32_t node)
{
    const struct view_node *n = view_node(&fs->view, node);

    if (!n || n->layer >= fs->n_layers)
        return -EIO;
    return hit_compose(hit, uufs_text(fs, fs->layers[n->layer].off), fs->layers[n->layer].len,
                       hit->ctr, hit->ctr_len);
}

int
hit_in_bind(const struct uufs *fs, struct uufs_hit *hit)
{
    const struct uufs_bind *b = &fs->binds[hit->bind];
    const char *src = uufs_text(fs, b->src);
    size_t src_len = b->src_len;

    if (hit->ctr_len > b->dst_len && src_len == 1 && src[0] == '/')
        src_len = 0;
    int err = hit_compose(hit, src, src_len, hit->ctr + b->dst_len, hit->ctr_len - b->dst_len);
    long n =
        err || !fs->anchored ? 0 : anchors_path(fs, hit->bind, hit->ctr, hit->ctr_len, hit->host);

    if (n > 0)
        hit->host_len = (uint32_t)n;
    return n < 0 ? (int)n : err;
}
