/* Devices under root emulation: an empty file with a record, which opens as the host's device where
 * every program may use that one. */
#include "device.h"

#include "../../base/libc.h"
#include "../../uufs/change/owner.h"
#include "../../uufs/dirty.h"
#include "cred.h"
#include "ownership.h"

#include <sys/stat.h>

int
device_make(const struct uufs_hit *hit, unsigned long mode, unsigned long rdev)
{
    struct extra_file file = {.path = hit->host};
    const struct cred *c = cred_now();
    struct stat shown;
    long r;

    if (!cred_has(c, CRED_CAP_MKNOD))
        return -EPERM;
    r = sys4(SYS_mknodat, AT_FDCWD, hit->host, S_IFREG | (mode & 0777) | 0600, 0);
    if (!r)
        r = extra_file_stat(&file);
    if (r)
        return (int)r;
    ownership_created(hit, mode); /* the group, where the directory hands its own on */
    extra_file_stat(&file);
    shown = file.st;
    ownership_show_upper(&file, &shown);
    shown.st_uid = c->user.fs;
    shown.st_mode = (uint32_t)((mode & S_IFMT) | (shown.st_mode & 0777) | (mode & 07000));
    shown.st_rdev = rdev;
    r = ownership_store(&file, &shown);
    if (r)
        sys3(SYS_unlinkat, AT_FDCWD, hit->host, 0);
    return (int)r;
}

static bool
may_hold_devices(void)
{
    return uufs_dirty_test(&engine.fs, OWNER_DEVICES, sizeof(OWNER_DEVICES) - 1);
}

const char *
device_of(const struct uufs_hit *hit)
{
    static const struct {
        uint32_t major, minor;
        const char *host;
    } common[] = {{1, 3, "/dev/null"},   {1, 5, "/dev/zero"},    {1, 7, "/dev/full"},
                  {1, 8, "/dev/random"}, {1, 9, "/dev/urandom"}, {5, 0, "/dev/tty"}};
    const struct view_node *n =
        hit->where == UUFS_LOWER ? view_node(&engine.fs.view, hit->node) : NULL;
    struct stat st;

    if (!hit->in_union || hit->type != S_IFREG)
        return NULL;
    if (n ? S_ISREG(n->tar_mode) : !may_hold_devices())
        return NULL;
    if (sys4(SYS_newfstatat, AT_FDCWD, hit->host, &st, AT_SYMLINK_NOFOLLOW))
        return NULL;
    ownership_show(hit, &st);
    if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(common) && S_ISCHR(st.st_mode); i++)
        if (st.st_rdev == (common[i].major << 8 | common[i].minor))
            return common[i].host;
    return "";
}

void
device_show_types(const struct uufs_hit *hit, char *entries, long size)
{
    struct entry {
        uint64_t ino;
        int64_t off;
        uint16_t reclen;
        uint8_t type;
        char name[];
    };
    bool devices = may_hold_devices();

    for (long at = 0; at < size;) {
        struct entry *e = (struct entry *)(entries + at);
        const struct view_node *n = NULL;

        at += e->reclen;
        if (e->type != S_IFREG >> 12)
            continue;
        if (hit->node != VIEW_NONE)
            n = view_node(&engine.fs.view,
                          view_child(&engine.fs.view, hit->node, e->name, strlen(e->name)));
        if (devices || (n && (S_ISCHR(n->tar_mode) || S_ISBLK(n->tar_mode))))
            e->type = 0; /* DT_UNKNOWN: whoever wants to know asks stat */
    }
}
