/* chown, chmod and their kin under root emulation: decided by the shown owner and the emulated
 * credentials, kept by ownership_store. Read, decide and write happen under the container's lock,
 * so that of two processes that change one file both have their way. */
#include "chown.h"

#include "../../uufs/lock.h"
#include "../../uufs/proclink.h"
#include "../../uufs/walk/fromhost.h"
#include "../../uufs/walk/walk.h"
#include "../fakeroot/cred.h"
#include "../fakeroot/ownership.h"
#include "../paths/descriptor.h"
#include "../paths/generic.h"
#include "../paths/resolve.h"

#include <sys/stat.h>

#define KEEP ((uint32_t)-1)

struct change {
    bool mode_only;
    uint32_t uid, gid, mode;
};

static int
decide_owner(const struct cred *c, const struct change *change, struct stat *st)
{
    bool owns = c->user.fs == st->st_uid;

    if (!cred_has(c, CRED_CAP_CHOWN)) {
        if (change->uid != KEEP && !(owns && change->uid == st->st_uid))
            return -EPERM;
        if (change->gid != KEEP &&
            !(owns && (change->gid == st->st_gid || cred_in_group(c, change->gid))))
            return -EPERM;
    }
    if (change->uid != KEEP)
        st->st_uid = change->uid;
    if (change->gid != KEEP)
        st->st_gid = change->gid;
    if (!S_ISDIR(st->st_mode)) /* as the kernel, also for root */
        st->st_mode &= st->st_mode & S_IXGRP ? ~(uint32_t)06000 : ~(uint32_t)04000;
    return 0;
}

static int
decide_mode(const struct cred *c, const struct change *change, struct stat *st)
{
    uint32_t mode = change->mode & 07777;

    if (S_ISLNK(st->st_mode))
        return -EOPNOTSUPP;
    if (c->user.fs != st->st_uid && !cred_has(c, CRED_CAP_FOWNER))
        return -EPERM;
    if (!cred_has(c, CRED_CAP_FSETID) && !cred_in_group(c, st->st_gid))
        mode &= ~(uint32_t)S_ISGID;
    st->st_mode = (st->st_mode & S_IFMT) | mode;
    return 0;
}

/* Is there anything to do? 1, 0 or -errno; @st becomes what is to be shown. */
static int
decide(const struct change *change, struct stat *st)
{
    const struct cred *c = cred_now();
    const struct stat old = *st;
    int err = change->mode_only ? decide_mode(c, change, st) : decide_owner(c, change, st);

    if (err)
        return err;
    return old.st_uid != st->st_uid || old.st_gid != st->st_gid || old.st_mode != st->st_mode;
}

/* What changes nothing on the disk is a change all the same: the time of the last one moves, and
 * watches tell it unless no owner was named. */
static void
touch(const struct extra_file *file, const struct change *change)
{
    bool names_none = !change->mode_only && change->uid == KEEP && change->gid == KEEP;

    sys5(SYS_fchownat, AT_FDCWD, file->path, names_none ? KEEP : file->st.st_uid, KEEP,
         file->follow ? 0 : AT_SYMLINK_NOFOLLOW);
}

/* @file is in the upper. */
static int
change_upper(struct extra_file *file, const struct change *change)
{
    int lock = uufs_lock(&engine.fs), r;
    struct stat shown;

    if (lock < 0)
        return lock;
    r = extra_file_stat(file);
    shown = file->st;
    if (!r) {
        ownership_show_upper(file, &shown);
        r = decide(change, &shown);
    }
    if (r >= 0)
        r = ownership_store(file, &shown);
    if (!r && !change->mode_only && !S_ISDIR(shown.st_mode))
        extra_remove(&engine.fs, file, "security.capability");
    if (!r)
        touch(file, change);
    uufs_unlock(lock);
    return r;
}

/* A lower file that already is as it shall be stays where it is: `chown -R root:root /usr` must not
 * copy the image. */
static int
change_lower(struct uufs_hit *hit, const struct change *change)
{
    struct extra_file file = {.path = hit->host};
    struct stat shown;
    int r = extra_file_stat(&file);

    if (r)
        return r;
    shown = file.st;
    ownership_show(hit, &shown);
    r = decide(change, &shown);
    if (r <= 0)
        return r;
    r = uufs_copy_up(&engine.fs, hit, UUFS_COPY_DATA);
    if (r)
        return r;
    file.path = hit->host;
    return change_upper(&file, change);
}

static int
change_hit(struct uufs_hit *hit, const struct change *change)
{
    struct extra_file file = {.path = hit->host};

    if (hit->read_only)
        return -EROFS;
    return hit->where == UUFS_LOWER ? change_lower(hit, change) : change_upper(&file, change);
}

/* What a magic link points to, where that has a name in the union. */
static OWN_FRAME void
follow_magic(struct uufs_hit *hit)
{
    char host[LPMX_PATH_MAX], ctr[LPMX_PATH_MAX];
    long n = sys4(SYS_readlinkat, AT_FDCWD, hit->host, host, sizeof(host) - 1);
    struct uufs_hit file;

    if (n <= 0)
        return;
    host[n] = '\0';
    if (!uufs_from_host(&engine.fs, host, ctr, sizeof(ctr)) &&
        !uufs_walk(&engine.fs, "/", ctr, 0, &file) && file.in_union)
        *hit = file;
}

/* Outside of the union nothing is remembered: the call's own arguments stand. */
static long
outside(struct call *c, bool descriptor)
{
    return descriptor ? call_descriptor(c) : call_path(c);
}

static OWN_FRAME long
change_descriptor(struct call *c, const struct change *change)
{
    char link[PROC_LINK_SIZE], host[LPMX_PATH_MAX];
    struct extra_file file = {.path = link, .follow = true};
    int fd = (int)c->a[0], err;
    bool lower;
    long flags = sys3(SYS_fcntl, fd, F_GETFL, 0), n;

    if (flags < 0)
        return flags;
    if (flags & O_PATH && c->row->intent == INTENT_descriptor)
        return -EBADF;
    proc_link_fd(fd, link);
    n = sys4(SYS_readlinkat, AT_FDCWD, link, host, sizeof(host) - 1);
    if (n < 0)
        return n;
    host[n] = '\0';
    lower = uufs_host_is_lower(&engine.fs, host);
    if (!lower && !ownership_in_upper(host))
        return outside(c, true);
    if (lower) {
        struct stat shown;

        err = extra_file_stat(&file);
        if (err)
            return err;
        shown = file.st;
        ownership_show_fd(fd, &shown);
        err = decide(change, &shown);
        if (err <= 0)
            return err;
    }
    err = call_descriptor_up(fd);
    return err ? err : change_upper(&file, change);
}

static long
change_any(struct call *c, const struct change *change)
{
    struct uufs_hit hit;
    bool descriptor = c->row->intent == INTENT_descriptor || call_is_descriptor(c);
    int err;

    if (descriptor && (int)c->a[0] == AT_FDCWD && c->row->intent != INTENT_descriptor) {
        c->a[1] = (unsigned long)".";
        descriptor = false;
    }
    if (descriptor)
        return change_descriptor(c, change);
    err = call_resolve(c, &hit);
    if (!err && hit.magic && call_how(c) & UUFS_FOLLOW)
        follow_magic(&hit);
    if (err)
        return err;
    return hit.in_union ? change_hit(&hit, change) : outside(c, false);
}

/* For a host's file: only what the real user can do is done, the rest is accepted. */
static void
real_ids(struct call *c, uint32_t uid, uint32_t gid)
{
    unsigned at = c->row->nr == SYS_fchownat ? 2 : 1;
    uint32_t own_uid = (uint32_t)sys0(SYS_geteuid), own_gid = (uint32_t)sys0(SYS_getegid);

    c->a[at] = uid == 0 || uid == own_uid ? own_uid : KEEP;
    c->a[at + 1] = gid == 0 || gid == own_gid ? own_gid : KEEP;
}

long
chown_change(struct call *c, uint32_t uid, uint32_t gid)
{
    const struct change change = {.uid = uid, .gid = gid};

    real_ids(c, uid, gid);
    return change_any(c, &change);
}

long
chown_change_mode(struct call *c, uint32_t mode)
{
    const struct change change = {.mode_only = true, .mode = mode};

    return change_any(c, &change);
}
