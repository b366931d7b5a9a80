/* A lower file's metadata, from the view. */
#include "lower.h"

#include "../../base/libc.h"
#include "../../engine/engine.h"

#include <sys/stat.h>

HOT_FILE;

#define MAX_TRUSTED_LAYERS 512

/* The device of a layer's files, read once from its root; 0 not yet, ~0 not to be trusted (the
 * store was copied). */
static uint64_t layer_device[MAX_TRUSTED_LAYERS];

bool
lower_device(uint32_t layer, uint64_t *device)
{
    struct stat st;
    uint64_t known;

    if (layer >= engine.fs.n_layers || layer >= MAX_TRUSTED_LAYERS)
        return false;
    known = __atomic_load_n(&layer_device[layer], __ATOMIC_RELAXED);
    if (!known) {
        const char *root = engine.fs.strings + engine.fs.layers[layer].off;

        known = ~0UL;
        if (!sys4(SYS_newfstatat, AT_FDCWD, root, &st, 0) &&
            st.st_ino == engine.fs.view.layers[layer].root_ino)
            known = st.st_dev;
        __atomic_store_n(&layer_device[layer], known, __ATOMIC_RELAXED);
    }
    *device = known;
    return known != ~0UL;
}

void
lower_stat(const struct view_node *n, uint64_t device, struct stat *st)
{
    memset(st, 0, sizeof(*st));
    st->st_dev = device;
    st->st_ino = n->ino;
    st->st_nlink = n->nlink;
    st->st_mode = n->mode;
    st->st_uid = n->uid;
    st->st_gid = n->gid;
    st->st_size = (long)n->size;
    st->st_blksize = 4096;
    st->st_blocks = (long)n->blocks;
    st->st_atim = st->st_mtim = (struct timespec){n->mtime, n->mtime_ns};
    st->st_ctim = (struct timespec){n->ctime, n->ctime_ns};
}

bool
lower_show_merged(const struct view_node *n, struct stat *st)
{
    uint64_t device;

    if (!lower_device(n->layer, &device))
        return false;
    st->st_dev = device;
    st->st_ino = n->ino;
    st->st_nlink = 1;
    return true;
}

long
lower_access(const struct view_node *n, bool read_only, unsigned want)
{
    uint32_t uid = (uint32_t)sys0(SYS_geteuid), mode = n->mode;

    if ((want & 2) && read_only)
        return -EROFS;
    if (uid == 0)
        return !(want & 1) || S_ISDIR(mode) || (mode & 0111) ? 0 : -EACCES;
    if (uid != n->uid)
        return 1; /* groups: the kernel knows them */
    return (mode >> 6 & want) == want ? 0 : -EACCES;
}
