/* Calls by a descriptor, and the copy-up of the lower file that is behind one. */
#include "descriptor.h"

#include "../../engine/engine.h"
#include "../../uufs/walk/walk.h"
#include "resolve.h"

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

/* AT_EMPTY_PATH with an empty path speaks of the descriptor itself. */
bool
call_is_descriptor(const struct call *c)
{
    if (c->row->dirfd == CALL_CWD)
        return false;
    if ((c->row->nr == SYS_utimensat || c->row->nr == SYS_futimesat) && !c->a[1])
        return true;
    switch (c->row->nr) {
    case SYS_fchmodat2:
        return (c->a[3] & AT_EMPTY_PATH) && call_path_empty(c) == 1;
    case SYS_fchownat:
    case SYS_name_to_handle_at:
        return (c->a[4] & AT_EMPTY_PATH) && call_path_empty(c) == 1;
    case SYS_utimensat:
        return (c->a[3] & AT_EMPTY_PATH) && call_path_empty(c) == 1;
    }
    return false;
}

int
call_reopen(int fd, const char *host)
{
    long flags = sys3(SYS_fcntl, fd, F_GETFL, 0), cloexec = sys3(SYS_fcntl, fd, F_GETFD, 0), pos,
         copy;

    if (flags < 0)
        return (int)flags;
    copy = sys4(SYS_openat, AT_FDCWD, host, (flags & ~(O_CREAT | O_EXCL | O_TRUNC)) | O_CLOEXEC, 0);
    if (copy < 0)
        return (int)copy;
    pos = sys3(SYS_lseek, fd, 0, 1 /* SEEK_CUR */);
    if (pos > 0)
        sys3(SYS_lseek, copy, pos, 0 /* SEEK_SET */);
    flags = sys3(SYS_dup3, copy, fd, cloexec > 0 ? O_CLOEXEC : 0);
    sys1(SYS_close, copy);
    return flags < 0 ? (int)flags : 0;
}

/* fchmod and the like work on a descriptor that was opened for reading, and it may be of a lower
 * file: that one is copied up and the descriptor moved over to the copy. */
int
call_descriptor_up(int fd)
{
    char ctr[LPMX_PATH_MAX];
    struct uufs_hit hit;
    bool lower = false;
    long flags;
    int err;

    flags = fd < 0 ? -EBADF : sys3(SYS_fcntl, fd, F_GETFL, 0);
    if (flags < 0 || (flags & O_ACCMODE && !(flags & O_PATH))) /* no layer's is open for writing */
        return 0;
    if ((call_fd_path(fd, ctr, sizeof(ctr), &lower) && !lower))
        return 0;
    err = uufs_walk(&engine.fs, "/", ctr, 0, &hit);
    if (!err && hit.read_only)
        return -EROFS;
    if (!lower)
        return 0;
    if (err || !hit.in_union)
        return -EROFS; /* its name is gone: what is left of it is the layer's */
    if (hit.where == UUFS_LOWER)
        err = uufs_copy_up(&engine.fs, &hit, UUFS_COPY_DATA);
    return err ? err : call_reopen(fd, hit.host);
}
