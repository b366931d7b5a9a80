/* Credentials under root emulation: where they are kept and how execve hands them on. The rules are
 * those of credentials(7), capabilities(7) and the kernel's security/commoncap.c.
 *
 * They lie in the process's own memory. A fork child has a copy, which is what it shall have. A
 * vfork child runs on its parent's memory and must not change the parent's, so it gets an entry of
 * its own; it is told from a fork child by a page that the kernel wipes at fork. */
#include "cred.h"

#include "../../base/libc.h"

#include <sys/mman.h>
#include <sys/stat.h>

#define SECURE_NOROOT    1u
#define SECURE_KEEP_CAPS 16u
#define VFORKED          16
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

static struct cred own;
static bool secure;
static struct {
    int pid;
    struct cred cred;
} vforked[VFORKED];
static unsigned next_vforked;
static union {
    int pid; /* whose memory this is; 0: a fork child's that has not asked yet */
    char page[4096];
} owner __attribute__((aligned(4096)));

static struct cred *
find(int pid)
{
    for (size_t i = 0; i < VFORKED; i++)
        if (vforked[i].pid == pid)
            return &vforked[i].cred;
    return NULL;
}

static bool
is_vforked(int pid)
{
    int now = __atomic_load_n(&owner.pid, __ATOMIC_ACQUIRE);

    if (!now) {
        __atomic_store_n(&owner.pid, pid, __ATOMIC_RELEASE);
        memset(vforked, 0, sizeof(vforked));
        return false;
    }
    return now != pid;
}

const struct cred *
cred_now(void)
{
    const struct cred *c = NULL;

    /* has anybody an entry, or has whose memory this is not asked yet? */
    if (__atomic_load_n(&next_vforked, __ATOMIC_ACQUIRE) ||
        !__atomic_load_n(&owner.pid, __ATOMIC_ACQUIRE)) {
        int pid = (int)sys0(SYS_getpid);

        c = is_vforked(pid) ? find(pid) : NULL;
    }
    return c ? c : &own;
}

struct cred *
cred_change(void)
{
    int pid = (int)sys0(SYS_getpid);
    struct cred *c;

    if (!is_vforked(pid))
        return &own;
    c = find(pid);
    if (!c) {
        unsigned i = __atomic_fetch_add(&next_vforked, 1, __ATOMIC_RELAXED) % VFORKED;

        vforked[i].cred = own;
        vforked[i].pid = pid;
        c = &vforked[i].cred;
    }
    return c;
}

bool
cred_has(const struct cred *c, enum cred_cap cap)
{
    return c->effective >> cap & 1;
}

bool
cred_is_member(const struct cred *c, uint32_t main, uint32_t gid)
{
    if (main == gid)
        return true;
    for (uint32_t i = 0; i < c->n_groups; i++)
        if (c->groups[i] == gid)
            return true;
    return false;
}

bool
cred_in_group(const struct cred *c, uint32_t gid)
{
    return cred_is_member(c, c->group.fs, gid);
}

static void
watch_forks(void)
{
    sys3(SYS_madvise, &owner, sizeof(owner), MADV_WIPEONFORK);
    owner.pid = (int)sys0(SYS_getpid);
}

void
cred_start(void)
{
    const struct plan *plan = engine.plan;
    const uint32_t *groups = (const uint32_t *)(engine.fs.strings + plan->groups.off);

    own.user = (struct cred_ids){plan->uid, plan->uid, plan->uid, plan->uid};
    own.group = (struct cred_ids){plan->gid, plan->gid, plan->gid, plan->gid};
    own.n_groups = plan->groups.n < CRED_GROUPS ? plan->groups.n : CRED_GROUPS;
    memcpy(own.groups, groups, own.n_groups * sizeof(*groups));
    own.bounding = CRED_ALL;
    own.permitted = own.effective = plan->uid ? 0 : CRED_ALL;
    watch_forks();
}

bool
cred_secure(void)
{
    return secure;
}

/* ---- execve ---- */

struct file_caps {
    bool present, effective;
    uint64_t permitted, inheritable;
};

/* struct vfs_cap_data of capabilities(7), little-endian. */
static struct file_caps
parse_file_caps(const void *value, long size)
{
    struct file_caps caps = {0};
    uint32_t word[5];
    uint32_t version;

    if (size < 12 || size > 24)
        return caps;
    memset(word, 0, sizeof(word));
    memcpy(word, value, size > (long)sizeof(word) ? sizeof(word) : (size_t)size);
    version = word[0] & 0xff000000u;
    if (version != 0x01000000u && version != 0x02000000u && version != 0x03000000u)
        return caps;
    caps.present = true;
    caps.effective = word[0] & 1;
    caps.permitted = word[1];
    caps.inheritable = word[2];
    if (version != 0x01000000u) {
        caps.permitted |= (uint64_t)word[3] << 32;
        caps.inheritable |= (uint64_t)word[4] << 32;
    }
    return caps;
}

static void
exec_caps(struct cred *c, const struct cred *before, struct file_caps file)
{
    bool raised = c->user.effective != before->user.effective ||
                  c->group.effective != before->group.effective;
    bool root = !(c->securebits & SECURE_NOROOT) && (!c->user.effective || !c->user.real);

    if (raised || file.present)
        c->ambient = 0;
    if (root) {
        c->permitted = c->inheritable | c->bounding;
        c->effective = c->user.effective ? c->ambient : c->permitted;
    } else {
        c->permitted =
            (c->inheritable & file.inheritable) | (c->bounding & file.permitted) | c->ambient;
        c->effective = file.effective ? c->permitted : c->ambient;
    }
    c->securebits &= ~SECURE_KEEP_CAPS;
}

static uint32_t *
id_field(struct cred *c, size_t i)
{
    uint32_t *const fields[] = {&c->user.real,  &c->user.effective,  &c->user.saved,  &c->user.fs,
                                &c->group.real, &c->group.effective, &c->group.saved, &c->group.fs};

    return fields[i];
}

static uint64_t *
set_field(struct cred *c, size_t i)
{
    uint64_t *const fields[] = {&c->effective, &c->permitted, &c->inheritable, &c->bounding,
                                &c->ambient};

    return fields[i];
}

static char *
put_hex(char *p, uint64_t value)
{
    char digits[17];
    size_t n = 0;

    do {
        digits[n++] = "0123456789abcdef"[value % 16];
        value /= 16;
    } while (value);
    while (n)
        *p++ = digits[--n];
    *p++ = ' ';
    return p;
}

static const char *
take_hex(const char *p, uint64_t *value)
{
    *value = 0;
    if (!p || !*p)
        return NULL;
    for (; *p && *p != ' '; p++) {
        unsigned digit = *p >= '0' && *p <= '9'   ? (unsigned)(*p - '0')
                         : *p >= 'a' && *p <= 'f' ? (unsigned)(*p - 'a' + 10)
                                                  : 16;
        if (digit > 15)
            return NULL;
        *value = *value << 4 | digit;
    }
    return *p ? p + 1 : p;
}

void
cred_exec_text(const struct stat *st, const void *caps, long caps_size, char *text)
{
    const struct cred *before = cred_now();
    struct cred c = *before;
    char *p = text;

    if (st->st_mode & S_ISUID)
        c.user.effective = st->st_uid;
    if ((st->st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP))
        c.group.effective = st->st_gid;
    exec_caps(&c, before, parse_file_caps(caps, caps_size));
    c.user.saved = c.user.fs = c.user.effective;
    c.group.saved = c.group.fs = c.group.effective;
    p = put_hex(p, c.user.effective != c.user.real || c.group.effective != c.group.real ||
                       (c.user.real && (c.effective & ~c.ambient)));
    for (size_t i = 0; i < 8; i++)
        p = put_hex(p, *id_field(&c, i));
    for (size_t i = 0; i < 5; i++)
        p = put_hex(p, *set_field(&c, i));
    p = put_hex(p, c.securebits);
    for (uint32_t i = 0; i < c.n_groups; i++)
        p = put_hex(p, c.groups[i]);
    p[-1] = '\0';
}

int
cred_parse(const char *text, struct cred *c, bool *raised)
{
    uint64_t value;
    const char *p = take_hex(text, &value);

    *raised = value;
    for (size_t i = 0; i < 8; i++) {
        p = take_hex(p, &value);
        *id_field(c, i) = (uint32_t)value;
    }
    for (size_t i = 0; i < 5; i++) {
        p = take_hex(p, &value);
        *set_field(c, i) = value;
    }
    p = take_hex(p, &value);
    if (!p)
        return -EINVAL;
    c->securebits = (uint32_t)value;
    for (c->n_groups = 0; *p && c->n_groups < CRED_GROUPS; c->n_groups++) {
        p = take_hex(p, &value);
        if (!p)
            return -EINVAL;
        c->groups[c->n_groups] = (uint32_t)value;
    }
    return 0;
}

int
cred_restore(const char *text)
{
    int err = cred_parse(text, &own, &secure);

    if (!err)
        watch_forks();
    return err;
}
