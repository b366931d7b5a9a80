/* inotify_add_watch. A layer never changes, so whoever watches an object of one would never be told
 * anything: what changes is in the upper. So the object is brought there first, and watched there;
 * a directory costs an empty one, a file a copy, which its first change would have made anyway.
 *
 * The events are the upper's and read(2) is the kernel's: a name that is copied up later is told as
 * one that was moved to the directory, and marks are names like others. A name of the layers that
 * is removed is copied up before, if its directory is watched, or its end would not be told
 * (uufs/change/remove.c). Where nothing can be copied, and for who only asks for reads, it is as it
 * was.
 */
#include "../../engine/engine.h"
#include "../../uufs/dirty.h"
#include "../../uufs/hostfd.h"
#include "../../uufs/walk/hit.h"
#include "../fakeroot/permission.h"
#include "../paths/descriptor.h"
#include "../paths/resolve.h"
#include "inode.h"

#include <sys/inotify.h>
#include <sys/stat.h>

#define READS     (IN_ACCESS | IN_OPEN | IN_CLOSE_NOWRITE)
#define LIST_SIZE 2048

/* Descriptor @fd, if it is of the lower file @lower, moves over to the copy at @host. */
static void
move_descriptor(int fd, const struct stat *lower, const char *host)
{
    struct stat st;

    if (!sys2(SYS_fstat, fd, &st) && st.st_ino == lower->st_ino && st.st_dev == lower->st_dev &&
        !(sys3(SYS_fcntl, fd, F_GETFL, 0) & (O_PATH | O_ACCMODE)))
        call_reopen(fd, host);
}

/* What is appended to the file shall be read by those who have it open and wait for that. */
static void
move_descriptors(const struct stat *lower, const char *host)
{
    struct entry {
        uint64_t ino, offset;
        uint16_t len;
        uint8_t type;
        char name[];
    };
    uint64_t buf[LIST_SIZE / 8];
    int dir = hostfd_open("/proc/self/fd", O_RDONLY | O_DIRECTORY, 0);
    long n;

    while (dir >= 0 && (n = sys3(SYS_getdents64, dir, buf, sizeof(buf))) > 0)
        for (long at = 0; at < n;) {
            const struct entry *e = (const struct entry *)(const void *)((const char *)buf + at);
            int fd = 0;

            at += e->len;
            if (e->name[0] < '0' || e->name[0] > '9')
                continue;
            for (const char *p = e->name; *p; p++)
                fd = fd * 10 + *p - '0';
            if (fd != dir)
                move_descriptor(fd, lower, host);
        }
    if (dir >= 0)
        sys1(SYS_close, dir);
}

static OWN_FRAME void
bring_up(struct uufs_hit *hit)
{
    struct uufs_hit up = *hit;
    struct stat lower, copy;

    if (hit->type == S_IFDIR) {
        if (!uufs_copy_up(&engine.fs, &up, UUFS_COPY_DATA))
            *hit = up;
        return;
    }
    if (hit->type != S_IFREG || hit->node == VIEW_NONE ||
        sys4(SYS_newfstatat, AT_FDCWD, hit->host, &lower, AT_SYMLINK_NOFOLLOW) ||
        lower.st_size > WATCH_COPIES_MAX || uufs_copy_up(&engine.fs, &up, UUFS_COPY_DATA))
        return;
    *hit = up;
    if (sys4(SYS_newfstatat, AT_FDCWD, up.host, &copy, AT_SYMLINK_NOFOLLOW))
        return;
    inode_note_copy(&copy, &lower);
    move_descriptors(&lower, up.host);
}

long
call_inotify_add_watch(struct call *c)
{
    struct uufs_hit hit;
    uint32_t mask = (uint32_t)c->a[2];
    int err = call_resolve(c, &hit);

    if (!err)
        err = permission_for_call(c, &hit);
    if (err)
        return err;
    if (mask & IN_ONLYDIR && hit.type && hit.type != S_IFDIR && hit.type != S_IFLNK)
        return -ENOTDIR;
    if (hit.magic)
        uufs_leave_magic(&engine.fs, &hit);
    if (hit.in_union && !hit.read_only && engine.fs.upper && mask & IN_ALL_EVENTS & ~READS) {
        if (hit.where == UUFS_LOWER)
            bring_up(&hit);
        if (hit.type == S_IFDIR && hit.node != VIEW_NONE)
            uufs_watched_set(&engine.fs, hit.ctr, hit.ctr_len);
    }
    return sys3(SYS_inotify_add_watch, c->a[0], hit.host, c->a[2]);
}
