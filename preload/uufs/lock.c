/* One lock for a container's changes that involve a lower name: flock on WORK/lock.
 *
 * The kernel drops it when its holder dies. Where flock does not work (an NFS mount without a lock
 * manager) changes go on without it: each is one atomic step on the disk anyway, and the lock only
 * keeps check and step together. */
#include "lock.h"

#include "hostfd.h"
#include "upper.h"

#include <sys/file.h>

static int
lock_open(const struct uufs *fs)
{
    char path[LPMX_PATH_MAX];
    size_t len;
    int err = work_path(fs, "/lock", path, &len);

    if (err)
        return err;
    err = hostfd_open(path, O_RDWR | O_NOFOLLOW, 0); /* a look is cheaper than making */
    return err == -ENOENT ? hostfd_open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600) : err;
}

int
uufs_lock(const struct uufs *fs)
{
    int lock;
    long r;

    if (!fs->work)
        return -EROFS;
    lock = lock_open(fs);
    if (lock < 0)
        return lock;
    do
        r = sys2(SYS_flock, lock, LOCK_EX);
    while (r == -EINTR);
    return lock;
}

/* Unlocked by name: a child forked meanwhile by another thread holds a copy of the descriptor. */
void
uufs_unlock(int lock)
{
    if (lock < 0)
        return;
    sys2(SYS_flock, lock, LOCK_UN);
    sys1(SYS_close, lock);
}
