/* chroot(2), whose effect is kept by root.c: who may, and where to. */
#include "../../uufs/walk/fromhost.h"
#include "../fakeroot/cred.h"
#include "../fakeroot/permission.h"
#include "../paths/resolve.h"
#include "../program/root.h"

#include <sys/stat.h>

static bool
may_change_root(void)
{
    if (emulates_root())
        return cred_has(cred_now(), CRED_CAP_SYS_CHROOT);
    if (engine.plan->flags & PLAN_IDENTITY)
        return !engine.plan->uid;
    return !sys0(SYS_geteuid);
}

/* A magic link of /proc: what it leads to must have a name in the container. */
static int
leave_magic(struct uufs_hit *hit)
{
    char host[LPMX_PATH_MAX];
    long n = sys4(SYS_readlinkat, AT_FDCWD, hit->host, host, sizeof(host) - 1);

    if (n < 0)
        return (int)n;
    host[n] = '\0';
    return uufs_from_host(&engine.fs, host, hit->ctr, sizeof(hit->ctr)) ? -EPERM : 0;
}

long
call_chroot(struct call *c)
{
    struct uufs_hit hit;
    struct stat st;
    int err = call_resolve(c, &hit);

    if (!err)
        err = (int)sys4(SYS_newfstatat, AT_FDCWD, hit.host, &st, 0);
    if (!err && !S_ISDIR(st.st_mode))
        err = -ENOTDIR;
    if (!err)
        err = (int)sys3(SYS_faccessat, AT_FDCWD, hit.host, 1 /* X_OK */);
    if (!err)
        err = permission_check(&hit, PERMISSION_EXECUTE);
    if (!err && !may_change_root())
        err = -EPERM;
    if (!err && hit.magic)
        err = leave_magic(&hit);
    return err ? err : root_set(hit.ctr);
}
