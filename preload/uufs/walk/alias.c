#include "alias.h"

#include "../hostfd.h"
#include "../path.h"
#include "../proclink.h"

#include <sys/stat.h>

static bool
is_id(const char *name, const char *end)
{
    if (end - name != ALIAS_ID_LEN)
        return false;
    for (; name < end; name++)
        if (!(*name >= '0' && *name <= '9') && !(*name >= 'a' && *name <= 'f'))
            return false;
    return true;
}

const char *
alias_next_id(const char *path)
{
    while (*path) {
        const char *name = *path == '/' ? path + 1 : path;
        const char *end = path_skip(name);

        if (is_id(name, end))
            return name;
        path = end;
    }
    return NULL;
}

/* The metadata of the directory that the first @len bytes of @path name. */
static OWN_FRAME int
stat_prefix(const char *path, size_t len, struct stat *st)
{
    char prefix[LPMX_PATH_MAX];

    if (len >= sizeof(prefix))
        return -ENAMETOOLONG;
    memcpy(prefix, path, len);
    prefix[len] = '\0';
    return (int)sys4(SYS_newfstatat, AT_FDCWD, len ? prefix : "/", st, 0);
}

static bool
is_same(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

/* The layer of this plan with the id @id, or -1. */
static int
layer_of(const struct uufs *fs, const char *id)
{
    for (uint32_t i = 0; i < fs->n_layers; i++) {
        const char *end = fs->strings + fs->layers[i].off + fs->layers[i].len - 3;

        if (fs->layers[i].len > ALIAS_ID_LEN + 4 && !memcmp(end, "/fs", 3) &&
            !memcmp(end - ALIAS_ID_LEN, id, ALIAS_ID_LEN))
            return (int)i;
    }
    return -1;
}

/* Is the directory above @id in @host one of the stores' "layers"? */
static bool
is_store(const struct uufs *fs, const char *host, const char *id)
{
    struct stat here, store;

    if (stat_prefix(host, (size_t)(id - host) - 1, &here))
        return false;
    for (uint32_t i = 0; i < fs->n_stores; i++)
        if (!stat_prefix(fs->strings + fs->stores[i].off, fs->stores[i].len, &store) &&
            is_same(&here, &store))
            return true;
    return false;
}

/* A copy of a layer elsewhere is not the layer: its inode is another. The device is not compared,
 * since a network's file system that is mounted twice may have two numbers. */
bool
alias_is_layer(const struct uufs *fs, const char *host, const char *id)
{
    int layer = layer_of(fs, id);
    struct stat here, given;

    if (layer >= 0 && !stat_prefix(host, (size_t)(id - host) + ALIAS_ID_LEN + 3, &here)) {
        if (here.st_ino == fs->view.layers[layer].root_ino)
            return true;
        if (!stat_prefix(fs->strings + fs->layers[layer].off, fs->layers[layer].len, &given) &&
            here.st_ino == given.st_ino)
            return true;
    }
    return is_store(fs, host, id);
}

bool
alias_guards(const struct uufs *fs, const char *host, bool present)
{
    for (const char *id = alias_next_id(host); id; id = alias_next_id(id + ALIAS_ID_LEN)) {
        const char *end = id + ALIAS_ID_LEN;

        if (*end == '/' && path_begins_with(end + 1, "fs") ? alias_is_layer(fs, host, id)
                                                           : is_store(fs, host, id))
            return *end || present;
    }
    return false;
}

/* Of a directory that has moved since, only its name is left to tell it by: that of the container
 * (random) and its own. */
const char *
alias_below(const char *host, const char *place, size_t len)
{
    const char *tail = place + len;
    struct stat here, given;

    for (unsigned n = 0; n < 2 && tail > place; n += *tail == '/')
        tail--;
    size_t tail_len = (size_t)(place + len - tail);

    for (const char *p = host; *p; p = path_skip(p + 1)) {
        const char *end = p + tail_len;

        if (strncmp(p, tail, tail_len) || (*end && *end != '/') ||
            stat_prefix(host, (size_t)(end - host), &here))
            continue;
        if (stat_prefix(place, len, &given) == -ENOENT || is_same(&here, &given))
            return end;
    }
    return NULL;
}

/* The name that the kernel has for the directory at @path: its length, or 0. */
static OWN_FRAME size_t
kernel_name(const char *path, char *name, size_t cap)
{
    long fd = hostfd_open(path, O_PATH | O_DIRECTORY, 0), n;

    if (fd < 0)
        return 0;
    n = proc_fd_target((int)fd, name, cap);
    sys1(SYS_close, fd);
    return n > 0 && (size_t)n < cap - 1 ? (size_t)n : 0; /* what fills it may have been cut off */
}

OWN_FRAME int
alias_bind(const struct uufs *fs, const char *host, uint32_t *src_len)
{
    char name[LPMX_PATH_MAX];
    int best = -1;

    for (uint32_t i = 0; i < fs->n_binds; i++) {
        const struct uufs_bind *b = &fs->binds[i];
        size_t n;

        if (b->flags & (UUFS_BIND_FILE | UUFS_BIND_PROC | UUFS_BIND_SEED))
            continue;
        n = kernel_name(fs->strings + b->src, name, sizeof(name));
        if (n <= 1 || strncmp(host, name, n) || (host[n] && host[n] != '/') ||
            (best >= 0 && n <= *src_len))
            continue;
        best = (int)i;
        *src_len = (uint32_t)n;
    }
    return best;
}
