/* Shown identity: with -u or an image's USER a program sees those ids instead of the real ones.
 * Nothing changes for the kernel; what a program may do is what its real user may do. */
#include "call.h"

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

static uint32_t
shown(const struct call *c)
{
    return is_user_call(c->row->nr) ? engine.plan->uid : engine.plan->gid;
}

void
identity_stat(struct stat *st)
{
    if (!shows_other_ids())
        return;
    if (st->st_uid == (uint32_t)sys0(SYS_geteuid))
        st->st_uid = engine.plan->uid;
    if (st->st_gid == (uint32_t)sys0(SYS_getegid))
        st->st_gid = engine.plan->gid;
}

long
call_getid(struct call *c)
{
    return shown(c);
}

long
call_getresid(struct call *c)
{
    uint32_t id = shown(c);

    for (int i = 0; i < 3; i++) {
        if (user_readable((void *)c->a[i], sizeof(id)))
            return -EFAULT;
        *(uint32_t *)c->a[i] = id;
    }
    return 0;
}

long
call_getgroups(struct call *c)
{
    const uint32_t *groups = (const uint32_t *)(engine.fs.strings + engine.plan->groups.off);
    uint32_t n = engine.plan->groups.n;
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

    if (engine.plan->uid == 0)
        return 0;
    for (int i = 0; i < n; i++)
        if ((uint32_t)c->a[i] != shown(c) && (n == 1 || (uint32_t)c->a[i] != KEEP))
            return -EPERM;
    return 0;
}

long
call_setfsid(struct call *c)
{
    return shown(c); /* the previous id: these calls cannot report failure */
}

long
call_setgroups(struct call *c)
{
    (void)c;
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
