/* The identity that programs see. With -u or an image's USER a program sees those ids instead of
 * the real ones, and nothing else changes. Under root emulation (--fakeroot) it has credentials of
 * its own, see cred.h. In both cases what a program may do is what its real user may do. */
#include "identity.h"

#include "../../base/libc.h"
#include "../fakeroot/cred.h"
#include "../fakeroot/ownership.h"
#include "../paths/generic.h"
#include "../program/usermem.h"
#include "chown.h"
#include "setid.h"

#include <sys/stat.h>

#define KEEP ((uint32_t)-1)

static bool
shows_other_ids(void)
{
    return engine.plan->flags & PLAN_IDENTITY;
}

static bool
is_user_call(long nr)
{
    return nr == SYS_getuid || nr == SYS_geteuid || nr == SYS_getresuid || nr == SYS_setuid ||
           nr == SYS_setreuid || nr == SYS_setresuid || nr == SYS_setfsuid;
}

/* The ids a call of the user or the group family is about. */
static struct cred_ids
shown_ids(const struct call *c)
{
    bool user = is_user_call(c->row->nr);
    uint32_t id = user ? engine.plan->uid : engine.plan->gid;

    if (emulates_root())
        return user ? cred_now()->user : cred_now()->group;
    return (struct cred_ids){id, id, id, id};
}

/* The real user's own files are the shown user's. */
static void
show_as_own(struct stat *st)
{
    if (st->st_uid == (uint32_t)sys0(SYS_geteuid))
        st->st_uid = engine.plan->uid;
    if (st->st_gid == (uint32_t)sys0(SYS_getegid))
        st->st_gid = engine.plan->gid;
}

HOT_TEXT void
identity_show(const struct uufs_hit *hit, struct stat *st)
{
    if (emulates_root())
        ownership_show(hit, st);
    else if (shows_other_ids())
        show_as_own(st);
}

void
identity_show_fd(int fd, struct stat *st)
{
    if (emulates_root())
        ownership_show_fd(fd, st);
    else if (shows_other_ids())
        show_as_own(st);
}

long
call_getid(struct call *c)
{
    struct cred_ids ids = shown_ids(c);

    return c->row->nr == SYS_geteuid || c->row->nr == SYS_getegid ? ids.effective : ids.real;
}

long
call_getresid(struct call *c)
{
    struct cred_ids ids = shown_ids(c);
    const uint32_t values[] = {ids.real, ids.effective, ids.saved};

    for (int i = 0; i < 3; i++) {
        if (user_readable((void *)c->a[i], sizeof(values[i])))
            return -EFAULT;
        *(uint32_t *)c->a[i] = values[i];
    }
    return 0;
}

long
call_getgroups(struct call *c)
{
    bool emulated = emulates_root();
    const uint32_t *groups = emulated
                                 ? cred_now()->groups
                                 : (const uint32_t *)(engine.fs.strings + engine.plan->groups.off);
    uint32_t n = emulated ? cred_now()->n_groups : engine.plan->groups.n;
    int size = (int)c->a[0];

    if (size < 0 || (size && (uint32_t)size < n))
        return -EINVAL;
    if (size && n) {
        if (user_readable((void *)c->a[1], n * sizeof(*groups)))
            return -EFAULT;
        memcpy((void *)c->a[1], groups, n * sizeof(*groups));
    }
    return n;
}

/* Becoming whom one already is succeeds; a shown root may drop to anyone, which changes nothing. */
long
call_setid(struct call *c)
{
    int n = c->row->nr == SYS_setresuid || c->row->nr == SYS_setresgid ? 3
            : c->row->nr == SYS_setreuid || c->row->nr == SYS_setregid ? 2
                                                                       : 1;

    if (emulates_root())
        return setid_change(c);
    if (engine.plan->uid == 0)
        return 0;
    for (int i = 0; i < n; i++)
        if ((uint32_t)c->a[i] != shown_ids(c).real && (n == 1 || (uint32_t)c->a[i] != KEEP))
            return -EPERM;
    return 0;
}

long
call_setfsid(struct call *c)
{
    if (emulates_root())
        return setid_change_fs(c);
    return shown_ids(c).fs; /* the previous id: these calls cannot report failure */
}

long
call_setgroups(struct call *c)
{
    if (emulates_root())
        return setid_set_groups(c);
    return engine.plan->uid == 0 ? 0 : -EPERM;
}

static uint32_t
real_id(uint32_t id, uint32_t shown_id, long get)
{
    return id == shown_id ? (uint32_t)sys0(get) : id;
}

/* chown to the shown ids means the real ones; a shown root's other chowns are accepted without
 * effect. */
long
call_chown(struct call *c)
{
    unsigned at = c->row->nr == SYS_fchownat ? 2 : 1;

    if (emulates_root())
        return chown_change(c, (uint32_t)c->a[at], (uint32_t)c->a[at + 1]);
    if (shows_other_ids()) {
        uint32_t uid = real_id((uint32_t)c->a[at], engine.plan->uid, SYS_geteuid);
        uint32_t gid = real_id((uint32_t)c->a[at + 1], engine.plan->gid, SYS_getegid);

        if (engine.plan->uid == 0 && sys0(SYS_geteuid) != 0) {
            uid = uid == (uint32_t)sys0(SYS_geteuid) ? uid : KEEP;
            gid = gid == (uint32_t)sys0(SYS_getegid) ? gid : KEEP;
        }
        c->a[at] = uid;
        c->a[at + 1] = gid;
    }
    return c->row->intent == INTENT_descriptor ? call_descriptor(c) : call_path(c);
}

long
call_chmod(struct call *c)
{
    if (emulates_root())
        return chown_change_mode(c, (uint32_t)c->a[c->row->path == 1 ? 2 : 1]);
    return c->row->intent == INTENT_descriptor ? call_descriptor(c) : call_path(c);
}
