/* Hard links. A lower file is copied up first: the layers' inodes never get a name in the upper, or
 * writing to the one would change the other. */
#include "upper.h"

static bool
in_layer(const struct uufs *fs, const char *host)
{
    size_t len = strlen(host);

    for (uint32_t i = 0; i < fs->n_layers; i++)
        if (path_below(host, len, fs->strings + fs->layers[i].off, fs->layers[i].len))
            return true;
    for (uint32_t i = 0; i < fs->n_stores; i++)
        if (path_below(host, len, fs->strings + fs->stores[i].off, fs->stores[i].len))
            return true;
    return false;
}

/* A magic link to a file of a layer is taken for the file's name in the union; one to anything else
 * (a file without a name, as O_TMPFILE makes it, above all) stays the kernel's to follow. */
static OWN_FRAME int
resolve_magic(const struct uufs *fs, struct uufs_hit *from)
{
    char host[LPMX_PATH_MAX], ctr[LPMX_PATH_MAX];
    long n = sys4(SYS_readlinkat, AT_FDCWD, from->host, host, sizeof(host) - 1);
    int err;

    if (n < 0)
        return (int)n;
    host[n] = '\0';
    if (!in_layer(fs, host))
        return 0;
    err = uufs_from_host(fs, host, ctr, sizeof(ctr));
    return err ? err : uufs_walk(fs, "/", ctr, 0, from);
}

int
uufs_link(const struct uufs *fs, struct uufs_hit *from, struct uufs_hit *to)
{
    int err = from->magic ? resolve_magic(fs, from) : 0;

    if (err)
        return err;
    if (from->where == UUFS_ABSENT)
        return -ENOENT;
    if (to->where != UUFS_ABSENT)
        return -EEXIST;
    if (to->must_be_dir)
        return -ENOENT;
    if (to->read_only)
        return -EROFS;
    if (!from->magic && from->bind != hit_mount(fs, to))
        return -EXDEV;
    if (from->type == S_IFDIR)
        return -EPERM;
    err = uufs_copy_up(fs, from, UUFS_COPY_DATA);
    if (!err)
        err = uufs_prepare_create(fs, to);
    if (err)
        return err;
    return (int)sys5(SYS_linkat, AT_FDCWD, from->host, AT_FDCWD, to->host,
                     from->magic ? AT_SYMLINK_FOLLOW : 0);
}
