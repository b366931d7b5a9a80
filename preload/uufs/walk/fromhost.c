/* From the host back to the container: what a path that the kernel tells (getcwd, /proc/self/fd/N)
 * is called inside. */
#include "fromhost.h"

#include "../../base/str.h"
#include "../dirty.h"
#include "../escape.h"
#include "../path.h"
#include "alias.h"

HOT_FILE;

static bool
has_prefix(const char *path, const char *prefix, size_t len)
{
    return !strncmp(path, prefix, len) &&
           (path[len] == '\0' || path[len] == '/' || (len == 1 && prefix[0] == '/'));
}

static int
set_path(char *ctr, size_t cap, const char *head, size_t head_len, const char *tail)
{
    size_t len = 0;
    int err = str_append(ctr, cap, &len, head, head_len);

    if (!err)
        err = str_append(ctr, cap, &len, tail, strlen(tail));
    if (!err && !len)
        err = str_append(ctr, cap, &len, "/", 1);
    return err;
}

/* STORE/layers/HEX/fs/REST: REST, or NULL. By any name of STORE/layers, see alias.h. */
static const char *
in_layer_store(const struct uufs *fs, const char *host)
{
    for (uint32_t i = 0; i < fs->n_stores; i++) {
        if (!has_prefix(host, fs->strings + fs->stores[i].off, fs->stores[i].len))
            continue;
        const char *p = host + fs->stores[i].len;

        if (*p != '/')
            continue;
        p = path_skip(p + 1);
        if (p[0] == '/' && path_begins_with(p + 1, "fs"))
            return p + 3;
    }
    for (const char *id = alias_next_id(host); id; id = alias_next_id(id + ALIAS_ID_LEN)) {
        const char *end = id + ALIAS_ID_LEN;

        if (*end == '/' && path_begins_with(end + 1, "fs") && alias_is_layer(fs, host, id))
            return end + 3;
    }
    return NULL;
}

bool
uufs_host_is_lower(const struct uufs *fs, const char *host)
{
    return in_layer_store(fs, host) != NULL;
}

const char *
uufs_below_upper(const struct uufs *fs, const char *host)
{
    if (!fs->upper)
        return NULL;
    return has_prefix(host, fs->upper, fs->upper_len) ? host + fs->upper_len
                                                      : alias_below(host, fs->upper, fs->upper_len);
}

const char *
uufs_below_work(const struct uufs *fs, const char *host)
{
    if (!fs->work)
        return NULL;
    return has_prefix(host, fs->work, fs->work_len) ? host + fs->work_len
                                                    : alias_below(host, fs->work, fs->work_len);
}

/* @rest of the upper, as programs name it. */
static int
set_upper_path(const struct uufs *fs, char *ctr, size_t cap, const char *rest)
{
    int err = set_path(ctr, cap, "", 0, rest);

    if (!err && uufs_dirty_has_escapes(fs))
        escape_undo_all(ctr);
    return err;
}

/* The innermost bind whose source, as the plan has it, holds @host; -1: none. */
static int
bind_of(const struct uufs *fs, const char *host)
{
    int best = -1;

    for (uint32_t i = 0; i < fs->n_binds; i++) {
        const struct uufs_bind *b = &fs->binds[i];

        if (!has_prefix(host, fs->strings + b->src, b->src_len))
            continue;
        if (best < 0 || b->src_len > fs->binds[best].src_len)
            best = (int)i;
    }
    return best;
}

int
uufs_from_host(const struct uufs *fs, const char *host, char *ctr, size_t cap)
{
    const char *rest;
    uint32_t src_len;
    int best;

    if (host[0] != '/')
        return -ENOENT;
    rest = uufs_below_upper(fs, host);
    if (rest)
        return set_upper_path(fs, ctr, cap, rest);
    rest = in_layer_store(fs, host);
    if (rest)
        return set_path(ctr, cap, "", 0, rest);
    best = bind_of(fs, host);
    if (best >= 0)
        src_len = fs->binds[best].src_len;
    else
        best = alias_bind(fs, host, &src_len);
    if (best < 0)
        return -ENOENT;
    const struct uufs_bind *b = &fs->binds[best];

    rest = host + src_len;
    if (src_len == 1 && *rest)
        rest--;
    return set_path(ctr, cap, fs->strings + b->dst, b->dst_len, rest);
}
