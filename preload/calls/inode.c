/* A directory keeps its inode number when it is copied up, as in the kernel's overlayfs: fts, and
 * so chmod -R, looks at a directory, changes it, opens it, and will not go in where it finds
 * another. What the layers' directory is called is shown by every call that looks at the merged
 * one. Not for
 * "/", which was in the upper before any program looked. */
#include "inode.h"

#include "call.h"
#include "lower.h"

static void
show_node(uint32_t node, const char *ctr, struct stat *st)
{
    const struct view_node *n = view_node(&engine.fs.view, node);
    char host[LPMX_PATH_MAX];
    struct stat lower;
    size_t len = 0;
    uint64_t device;
    int err;

    if (!n || !S_ISDIR(n->mode) || !ctr[1])
        return;
    if (lower_device(n->layer, &device)) {
        st->st_dev = device;
        st->st_ino = n->ino;
        return;
    }
    if (n->layer >= engine.fs.n_layers) /* a damaged view */
        return;
    err = str_append(host, sizeof(host), &len, engine.fs.strings + engine.fs.layers[n->layer].off,
                     engine.fs.layers[n->layer].len);
    if (!err)
        err = str_append(host, sizeof(host), &len, ctr, strlen(ctr));
    if (!err && !sys4(SYS_newfstatat, AT_FDCWD, host, &lower, AT_SYMLINK_NOFOLLOW)) {
        st->st_dev = lower.st_dev;
        st->st_ino = lower.st_ino;
    }
}

void
inode_show(const struct uufs_hit *hit, struct stat *st)
{
    if (hit->where == UUFS_UPPER && S_ISDIR(st->st_mode))
        show_node(hit->node, hit->ctr, st);
}

bool
inode_merged(int fd, struct stat *st, struct uufs_hit *hit)
{
    char ctr[LPMX_PATH_MAX];
    uint32_t node;
    bool lower;

    return S_ISDIR(st->st_mode) && engine.fs.upper &&
           !call_fd_place(fd, st, ctr, sizeof(ctr), &lower, &node) && node != VIEW_NONE &&
           !uufs_walk(&engine.fs, "/", ctr, 0, hit) && hit->where == UUFS_UPPER &&
           hit->node == node && !sys4(SYS_newfstatat, AT_FDCWD, hit->host, st, AT_SYMLINK_NOFOLLOW);
}
