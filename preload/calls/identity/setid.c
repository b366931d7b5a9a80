/* The calls that read and change credentials under root emulation; rules as in credentials(7) and
 * capabilities(7). */
#include "setid.h"

#include "../../base/libc.h"
#include "../fakeroot/cred.h"
#include "../program/perform.h"
#include "../program/usermem.h"
#include "../sockets/peers.h"

#include <linux/capability.h>
#include <linux/limits.h>
#include <sys/prctl.h>

#define KEEP                   ((uint32_t)-1)
#define SECURE_NO_SETUID_FIXUP 4u
#define SECURE_KEEP_CAPS       16u
#define SECURE_NO_RAISE        64u
#define SECURE_LOCKS           0xaau
#define SECURE_ALL             0xffu

static bool
is_user_call(long nr)
{
    return nr == SYS_setuid || nr == SYS_setreuid || nr == SYS_setresuid || nr == SYS_setfsuid;
}

/* What becomes of capabilities when user ids change between 0 and others. */
static void
fix_caps(struct cred *c, const struct cred_ids *old)
{
    const struct cred_ids *now = &c->user;

    if (c->securebits & SECURE_NO_SETUID_FIXUP)
        return;
    if ((!old->real || !old->effective || !old->saved) && now->real && now->effective &&
        now->saved) {
        if (!(c->securebits & SECURE_KEEP_CAPS))
            c->permitted = c->effective = 0;
        c->ambient = 0;
    }
    if (!old->effective && now->effective)
        c->effective = 0;
    if (old->effective && !now->effective)
        c->effective = c->permitted;
}

static bool
is_one_of(const struct cred_ids *ids, uint32_t id, bool saved)
{
    return id == KEEP || id == ids->real || id == ids->effective || (saved && id == ids->saved);
}

/* setuid: with the right to, all three; else back to one of one's own. */
static int
set_one(struct cred_ids *ids, uint32_t id, bool may)
{
    if (id == KEEP)
        return -EINVAL;
    if (may)
        ids->real = ids->saved = id;
    else if (id != ids->real && id != ids->saved)
        return -EPERM;
    ids->effective = id;
    return 0;
}

static int
set_two(struct cred_ids *ids, uint32_t real, uint32_t effective, bool may)
{
    const struct cred_ids old = *ids;

    if (!may && ((real != KEEP && real != old.real && real != old.effective) ||
                 !is_one_of(&old, effective, true)))
        return -EPERM;
    if (real != KEEP)
        ids->real = real;
    if (effective != KEEP)
        ids->effective = effective;
    if (real != KEEP || (effective != KEEP && effective != old.real))
        ids->saved = ids->effective;
    return 0;
}

static int
set_three(struct cred_ids *ids, const unsigned long *a, bool may)
{
    const struct cred_ids old = *ids;
    uint32_t *const fields[] = {&ids->real, &ids->effective, &ids->saved};

    for (size_t i = 0; i < 3 && !may; i++)
        if (!is_one_of(&old, (uint32_t)a[i], true))
            return -EPERM;
    for (size_t i = 0; i < 3; i++)
        if ((uint32_t)a[i] != KEEP)
            *fields[i] = (uint32_t)a[i];
    return 0;
}

long
setid_change(const struct call *call)
{
    struct cred *c = cred_change();
    bool user = is_user_call(call->row->nr);
    bool may = cred_has(c, user ? CRED_CAP_SETUID : CRED_CAP_SETGID);
    struct cred_ids *ids = user ? &c->user : &c->group, old = *ids;
    uint32_t first = (uint32_t)call->a[0];
    int err;

    switch (call->row->nr) {
    case SYS_setuid:
    case SYS_setgid:
        err = set_one(ids, first, may);
        break;
    case SYS_setreuid:
    case SYS_setregid:
        err = set_two(ids, first, (uint32_t)call->a[1], may);
        break;
    default:
        err = set_three(ids, call->a, may);
    }
    if (err)
        return err;
    ids->fs = ids->effective;
    if (user)
        fix_caps(c, &old);
    if (ids->real != old.real)
        peers_note(PEER_CHANGES);
    return 0;
}

/* The capabilities that go and come with the user id for files: the kernel's CAP_FS_SET. */
#define FILE_CAPS                                                                                  \
    (1ull << CRED_CAP_CHOWN | 1ull << CRED_CAP_DAC_OVERRIDE | 1ull << CRED_CAP_DAC_READ_SEARCH |   \
     1ull << CRED_CAP_FOWNER | 1ull << CRED_CAP_FSETID | 1ull << CAP_LINUX_IMMUTABLE |             \
     1ull << CRED_CAP_MKNOD | 1ull << CAP_MAC_OVERRIDE)

long
setid_change_fs(const struct call *call)
{
    struct cred *c = cred_change();
    bool user = is_user_call(call->row->nr);
    struct cred_ids *ids = user ? &c->user : &c->group;
    uint32_t old = ids->fs, id = (uint32_t)call->a[0];

    if (id != KEEP && (is_one_of(ids, id, true) || id == old ||
                       cred_has(c, user ? CRED_CAP_SETUID : CRED_CAP_SETGID)))
        ids->fs = id;
    if (user && !(c->securebits & SECURE_NO_SETUID_FIXUP)) {
        if (!old && ids->fs)
            c->effective &= ~FILE_CAPS;
        else if (old && !ids->fs)
            c->effective |= c->permitted & FILE_CAPS;
    }
    return old;
}

/* In the order in which the kernel keeps them. */
static void
sort_groups(uint32_t *groups, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        uint32_t group = groups[i], at = i;

        for (; at && groups[at - 1] > group; at--)
            groups[at] = groups[at - 1];
        groups[at] = group;
    }
}

long
setid_set_groups(const struct call *call)
{
    struct cred *c = cred_change();
    uint32_t n = (uint32_t)call->a[0];
    int err;

    if (!cred_has(c, CRED_CAP_SETGID))
        return -EPERM;
    if (n > NGROUPS_MAX)
        return -EINVAL;
    err = n ? user_readable((const void *)call->a[1], n * sizeof(c->groups[0])) : 0;
    if (!err && n > CRED_GROUPS)
        err = -EINVAL;
    if (err)
        return err;
    memcpy(c->groups, (const void *)call->a[1], n * sizeof(c->groups[0]));
    c->n_groups = n;
    sort_groups(c->groups, n);
    return 0;
}

/* ---- capabilities ---- */

static uint32_t
half(uint64_t set, int i)
{
    return (uint32_t)(set >> 32 * i);
}

/* The number of 32-bit words the caller's version has, or -errno. As the kernel, an unknown one is
 * told ours. */
static int
cap_words(unsigned long header)
{
    struct __user_cap_header_struct h;
    uint32_t ours = _LINUX_CAPABILITY_VERSION_3;
    int err = user_copy(&h, header, sizeof(h));

    if (err)
        return err;
    switch (h.version) {
    case _LINUX_CAPABILITY_VERSION_1:
        return 1;
    case _LINUX_CAPABILITY_VERSION_2:
    case _LINUX_CAPABILITY_VERSION_3:
        return 2;
    }
    err = user_readable((void *)header, sizeof(ours));
    if (!err)
        memcpy((void *)header, &ours, sizeof(ours));
    return err ? err : -EINVAL;
}

/* The process that a call is about, or -errno. */
static int
cap_pid(unsigned long header)
{
    struct __user_cap_header_struct h;
    int err = user_copy(&h, header, sizeof(h));

    return err ? err : h.pid < 0 ? -EINVAL : h.pid;
}

/* Is there such a process? */
static int
cap_find(int pid)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, pid};
    struct __user_cap_data_struct data[2];

    return pid > 0 ? (int)sys2(SYS_capget, &h, data) : pid;
}

long
call_capget(struct call *call)
{
    const struct cred *c = cred_now();
    struct __user_cap_data_struct data[2];
    int words = cap_words(call->a[0]), err;

    if (words < 0)
        return words == -EINVAL && !call->a[1] ? 0 : words;
    if (!call->a[1])
        return 0;
    err = cap_find(cap_pid(call->a[0]));
    if (err)
        return err;
    for (int i = 0; i < words; i++) {
        data[i].effective = half(c->effective, i);
        data[i].permitted = half(c->permitted, i);
        data[i].inheritable = half(c->inheritable, i);
    }
    return user_put(call->a[1], data, (size_t)words * sizeof(data[0]));
}

long
call_capset(struct call *call)
{
    struct cred *c = cred_change();
    struct __user_cap_data_struct d[2];
    int words = cap_words(call->a[0]), pid, err;
    uint64_t effective, permitted, inheritable, may_inherit;

    if (words < 0)
        return words;
    pid = cap_pid(call->a[0]);
    if (pid && pid != (int)sys0(SYS_gettid))
        return pid == -EFAULT ? pid : -EPERM;
    memset(d, 0, sizeof(d));
    err = user_copy(d, call->a[1], (size_t)words * sizeof(d[0]));
    if (err)
        return err;
    effective = ((uint64_t)d[1].effective << 32 | d[0].effective) & CRED_ALL;
    permitted = ((uint64_t)d[1].permitted << 32 | d[0].permitted) & CRED_ALL;
    inheritable = ((uint64_t)d[1].inheritable << 32 | d[0].inheritable) & CRED_ALL;
    may_inherit =
        c->inheritable | (cred_has(c, CRED_CAP_SETPCAP) ? c->bounding : c->permitted & c->bounding);
    if (permitted & ~c->permitted || effective & ~permitted || inheritable & ~may_inherit)
        return -EPERM;
    c->permitted = permitted;
    c->effective = effective;
    c->inheritable = inheritable;
    c->ambient &= permitted & inheritable;
    return 0;
}

static long
change_ambient(struct cred *c, const unsigned long *a)
{
    unsigned long op = a[1], cap = a[2];
    uint64_t bit = cap < CRED_CAPS ? 1ull << cap : 0;

    if (a[3] || a[4] || (op == PR_CAP_AMBIENT_CLEAR_ALL && cap))
        return -EINVAL;
    if (op == PR_CAP_AMBIENT_CLEAR_ALL) {
        c->ambient = 0;
        return 0;
    }
    if (!bit)
        return -EINVAL;
    switch (op) {
    case PR_CAP_AMBIENT_IS_SET:
        return (c->ambient & bit) != 0;
    case PR_CAP_AMBIENT_RAISE:
        if (!(c->permitted & c->inheritable & bit) || c->securebits & SECURE_NO_RAISE)
            return -EPERM;
        c->ambient |= bit;
        return 0;
    case PR_CAP_AMBIENT_LOWER:
        c->ambient &= ~bit;
        return 0;
    }
    return -EINVAL;
}

static long
drop_bounding(struct cred *c, unsigned long cap)
{
    if (!cred_has(c, CRED_CAP_SETPCAP))
        return -EPERM;
    if (cap >= CRED_CAPS)
        return -EINVAL;
    c->bounding &= ~(1ull << cap);
    return 0;
}

static long
set_securebits(struct cred *c, unsigned long bits)
{
    unsigned long locks = c->securebits & SECURE_LOCKS;

    if (!cred_has(c, CRED_CAP_SETPCAP) || bits & ~(unsigned long)SECURE_ALL || locks & ~bits ||
        locks >> 1 & (c->securebits ^ bits))
        return -EPERM;
    c->securebits = (uint32_t)bits;
    return 0;
}

long
call_prctl(struct call *call)
{
    switch (call->a[0]) {
    case PR_CAPBSET_READ:
        return call->a[1] < CRED_CAPS ? (long)(cred_now()->bounding >> call->a[1] & 1) : -EINVAL;
    case PR_CAPBSET_DROP:
        return drop_bounding(cred_change(), call->a[1]);
    case PR_CAP_AMBIENT:
        return change_ambient(cred_change(), call->a);
    case PR_GET_SECUREBITS:
        return cred_now()->securebits;
    case PR_SET_SECUREBITS:
        return set_securebits(cred_change(), call->a[1]);
    case PR_GET_KEEPCAPS:
        return (cred_now()->securebits & SECURE_KEEP_CAPS) != 0;
    case PR_SET_KEEPCAPS:
        if (call->a[1] > 1)
            return -EINVAL;
        if (cred_now()->securebits & SECURE_KEEP_CAPS << 1)
            return -EPERM;
        cred_change()->securebits &= ~SECURE_KEEP_CAPS;
        if (call->a[1])
            cred_change()->securebits |= SECURE_KEEP_CAPS;
        return 0;
    }
    return call_raw(call);
}
