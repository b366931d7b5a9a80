/* Hard links. A lower file is copied up first: the layers' inodes never get a name in the upper, or
 * writing to the one would change the other. */
#include "link.h"

#include "../walk/hit.h"
#include "copyup.h"
#include "create.h"

#include <sys/stat.h>

int
uufs_link(const struct uufs *fs, struct uufs_hit *from, struct uufs_hit *to)
{
    bool magic = from->magic;
    int err = magic ? uufs_leave_magic(fs, from) : 0;

    if (err)
        return err;
    if (magic && !from->magic && from->where != UUFS_LOWER && from->type != S_IFDIR)
        return -ENOENT; /* the name may mean another file by now */
    if (from->where == UUFS_ABSENT)
        return -ENOENT;
    if (to->where != UUFS_ABSENT)
        return -EEXIST;
    if (to->must_be_dir)
        return -ENOENT;
    if (to->read_only)
        return -EROFS;
    if (!from->magic && (from->bind != hit_mount(fs, to) || from->read_only)) /* a layer's file */
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
