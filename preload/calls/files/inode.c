/* A directory keeps its inode number when it is copied up, as in the kernel's overlayfs: fts, and
 * so chmod -R, looks at a directory, changes it, opens it, and will not go in where it finds
 * another. What the layers' directory is called is shown by every call that looks at the merged
 * one; and what the merged one is like, by every descriptor of the layers'. Not for "/", which was
 * in the upper before any program looked. The link count is 1, as there too, lest somebody reads
 * from it how many directories there are. */
#include "inode.h"

#include "../../base/libc.h"
#include "../../engine/engine.h"
#include "../../uufs/walk/walk.h"
#include "../paths/resolve.h"
#include "lower.h"

#include <sys/stat.h>

#define COPIES 64

HOT bool inode_has_copies;
static struct copy {
    uint64_t ino, dev, lower_ino, lower_dev;
} copies[COPIES];
static unsigned next_copy;

void
inode_note_copy(const struct stat *copy, const struct stat *lower)
{
    struct copy *c = &copies[__atomic_fetch_add(&next_copy, 1, __ATOMIC_RELAXED) % COPIES];

    __atomic_store_n(&c->ino, 0, __ATOMIC_RELEASE);
    c->dev = copy->st_dev;
    c->lower_ino = lower->st_ino;
    c->lower_dev = lower->st_dev;
    __atomic_store_n(&c->ino, copy->st_ino, __ATOMIC_RELEASE);
    inode_has_copies = true;
}

void
inode_show_copy(struct stat *st)
{
    for (unsigned i = 0; i < COPIES; i++)
        if (__atomic_load_n(&copies[i].ino, __ATOMIC_ACQUIRE) == st->st_ino &&
            copies[i].dev == st->st_dev && S_ISREG(st->st_mode)) {
            st->st_ino = copies[i].lower_ino;
            st->st_dev = copies[i].lower_dev;
            return;
        }
}

/* In a copied store the disk is asked. */
static OWN_FRAME void
show_from_disk(const struct view_node *n, const char *ctr, struct stat *st)
{
    char host[LPMX_PATH_MAX];
    struct stat lower;

    st->st_nlink = 1;
    if (uufs_layer_path(&engine.fs, n->layer, ctr, strlen(ctr), host) > 0 &&
        !sys4(SYS_newfstatat, AT_FDCWD, host, &lower, AT_SYMLINK_NOFOLLOW)) {
        st->st_dev = lower.st_dev;
        st->st_ino = lower.st_ino;
    }
}

HOT_TEXT void
inode_show(const struct uufs_hit *hit, struct stat *st)
{
    const struct view_node *n = view_node(&engine.fs.view, hit->node);

    if (hit->where == UUFS_UPPER && S_ISDIR(st->st_mode) && n && S_ISDIR(n->mode) && hit->ctr[1] &&
        !lower_show_merged(n, st))
        show_from_disk(n, hit->ctr, st);
}

bool
inode_merged(int fd, const struct stat *st, struct uufs_hit *hit)
{
    char ctr[LPMX_PATH_MAX];
    uint32_t node;
    bool lower;

    return S_ISDIR(st->st_mode) && engine.fs.upper &&
           !call_fd_place(fd, st, ctr, sizeof(ctr), &lower, &node) && node != VIEW_NONE &&
           !uufs_walk(&engine.fs, "/", ctr, 0, hit) && hit->where == UUFS_UPPER &&
           hit->node == node;
}
