/* What a hit is besides a name: a seed, a mount point, still there. And the name in the union that
 * a magic link of /proc leads to. */
#include "hit.h"

#include "../path.h"
#include "../whiteout.h"
#include "fromhost.h"
#include "walk.h"

#include <sys/stat.h>

int
seed_at(const struct uufs *fs, const char *ctr, size_t len)
{
    for (uint32_t i = 0; i < fs->n_binds; i++)
        if ((fs->binds[i].flags & UUFS_BIND_SEED) && fs->binds[i].dst_len == len &&
            !memcmp(fs->strings + fs->binds[i].dst, ctr, len))
            return (int)i;
    return -1;
}

bool
bind_below(const struct uufs *fs, const char *ctr, size_t len)
{
    for (uint32_t i = 0; i < fs->n_binds; i++) {
        const struct uufs_bind *b = &fs->binds[i];

        if (!(b->flags & UUFS_BIND_SEED) && path_below(fs->strings + b->dst, b->dst_len, ctr, len))
            return true;
    }
    return false;
}

bool
hit_is_mount(const struct uufs *fs, const struct uufs_hit *hit)
{
    return hit->bind >= 0 && hit->ctr_len == fs->binds[hit->bind].dst_len;
}

int
hit_mount(const struct uufs *fs, const struct uufs_hit *hit)
{
    int best = -1;

    if (!hit_is_mount(fs, hit))
        return hit->bind;
    for (uint32_t i = 0; i < fs->n_binds; i++) {
        const struct uufs_bind *b = &fs->binds[i];

        if (!(b->flags & UUFS_BIND_SEED) &&
            path_below(hit->ctr, hit->ctr_len, fs->strings + b->dst, b->dst_len) &&
            (best < 0 || b->dst_len > fs->binds[best].dst_len))
            best = (int)i;
    }
    return best;
}

bool
hit_needs_whiteout(const struct uufs *fs, const struct uufs_hit *hit)
{
    return hit->in_union && (hit->lower_name || seed_at(fs, hit->ctr, hit->ctr_len) >= 0);
}

int
hit_now(const struct uufs *fs, const struct uufs_hit *hit, struct uufs_hit *now)
{
    int err = uufs_lookup(fs, hit->ctr, UUFS_MISSING, now), hidden;

    if (err || now->where == UUFS_UPPER || seed_at(fs, hit->ctr, hit->ctr_len) < 0)
        return err;
    hidden = whiteout_test(fs, hit->ctr, hit->ctr_len);
    if (hidden < 0)
        return hidden;
    now->where = hidden ? UUFS_ABSENT : UUFS_LOWER;
    now->node = VIEW_NONE;
    now->type = hidden ? 0 : S_IFREG;
    now->lower_name = true;
    return 0;
}

OWN_FRAME int
hit_is_current(const struct uufs *fs, const struct uufs_hit *hit)
{
    struct uufs_hit now;
    int err = hit_now(fs, hit, &now);

    if (err)
        return err;
    return now.where == hit->where && now.node == hit->node &&
           (hit->where == UUFS_ABSENT || now.type == hit->type);
}

COLD int
uufs_leave_magic(const struct uufs *fs, struct uufs_hit *hit)
{
    char host[LPMX_PATH_MAX], ctr[LPMX_PATH_MAX];
    long n = sys4(SYS_readlinkat, AT_FDCWD, hit->host, host, sizeof(host) - 1);
    int err;

    if (n < 0)
        return 0;
    host[n] = '\0';
    if (!uufs_host_is_lower(fs, host))
        return 0;
    err = uufs_from_host(fs, host, ctr, sizeof(ctr));
    if (!err)
        err = uufs_walk(fs, "/", ctr, 0, hit);
    return !err && !hit->in_union ? -ENOENT : err;
}
