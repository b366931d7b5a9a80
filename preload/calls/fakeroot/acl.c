#include "acl.h"

#include "../../uufs/change/owner.h"
#include "cred.h"

#include <sys/stat.h>

enum acl_tag { /* ACL_* of linux/posix_acl.h, which user space does not get */
               ACL_USER_OBJ = 0x01,
               ACL_USER = 0x02,
               ACL_GROUP_OBJ = 0x04,
               ACL_GROUP = 0x08,
               ACL_MASK = 0x10,
               ACL_OTHER = 0x20,
};

struct acl_entry {
    uint16_t tag, perm;
    uint32_t id;
};

struct acl {
    uint32_t version; /* 2 */
    struct acl_entry entries[(ACL_MAX - 4) / sizeof(struct acl_entry)];
};

/* How many entries @size bytes hold; 0: it is no ACL. */
static size_t
count(const struct acl *acl, size_t size)
{
    size_t n = (size - sizeof(acl->version)) / sizeof(acl->entries[0]);

    return size >= sizeof(acl->version) + sizeof(acl->entries[0]) && size <= sizeof(*acl) &&
                   acl->version == 2 && size == sizeof(acl->version) + n * sizeof(acl->entries[0])
               ? n
               : 0;
}

static const struct acl_entry *
find(const struct acl *acl, size_t n, unsigned tag)
{
    for (size_t i = 0; i < n; i++)
        if (acl->entries[i].tag == tag)
            return &acl->entries[i];
    return NULL;
}

static int
judge_masked(const struct acl *acl, size_t n, const struct acl_entry *entry, unsigned want)
{
    const struct acl_entry *mask = find(acl, n, ACL_MASK);

    return (entry->perm & (mask ? mask->perm : 7) & want) == want ? 0 : -EACCES;
}

static bool
is_in_group(const struct acl_question *q, uint32_t gid)
{
    return cred_is_member(cred_now(), q->gid, gid);
}

/* The entries stand in the order in which they are asked. */
static int
judge(const struct acl *acl, size_t n, const struct acl_question *q)
{
    unsigned want = q->want;
    bool in_group = false;

    for (size_t i = 0; i < n; i++) {
        const struct acl_entry *e = &acl->entries[i];
        bool group = (e->tag == ACL_GROUP_OBJ && is_in_group(q, q->st->st_gid)) ||
                     (e->tag == ACL_GROUP && is_in_group(q, e->id));

        if (e->tag == ACL_USER && e->id == q->uid)
            return judge_masked(acl, n, e, want);
        if (group && (e->perm & want) == want)
            return judge_masked(acl, n, e, want);
        in_group |= group;
        if (e->tag == ACL_OTHER)
            return !in_group && (e->perm & want) == want ? 0 : -EACCES;
    }
    return -EACCES;
}

int
acl_check(const char *path, bool follow, const struct acl_question *q)
{
    struct acl acl;
    size_t n;
    long r;

    if (!(q->st->st_mode & S_IRWXG) || S_ISLNK(q->st->st_mode)) /* as the kernel does */
        return 1;
    r = sys4(follow ? SYS_getxattr : SYS_lgetxattr, path, ACL_ACCESS, &acl, sizeof(acl));
    if (r == -ERANGE)
        return -EACCES;
    n = r > 0 ? count(&acl, (size_t)r) : 0;
    return n ? judge(&acl, n, q) : 1;
}

int
acl_open_owner(void *value, size_t size, uint32_t type, uint32_t *mode)
{
    struct acl *acl = value;
    size_t n = count(acl, size);
    const struct acl_entry *group = find(acl, n, ACL_MASK), *other = find(acl, n, ACL_OTHER);

    if (!group)
        group = find(acl, n, ACL_GROUP_OBJ);
    for (size_t i = 0; i < n; i++) {
        struct acl_entry *e = &acl->entries[i];

        if (e->tag != ACL_USER_OBJ || !group || !other)
            continue;
        *mode = (e->perm & 7u) << 6 | (group->perm & 7u) << 3 | (other->perm & 7u);
        e->perm |= (uint16_t)(owner_disk_mode(type, *mode) >> 6 & 7);
        return 0;
    }
    return -EINVAL;
}

void
acl_show_owner(void *value, size_t size, uint32_t mode)
{
    struct acl *acl = value;
    size_t n = count(acl, size);

    for (size_t i = 0; i < n; i++)
        if (acl->entries[i].tag == ACL_USER_OBJ)
            acl->entries[i].perm = mode >> 6 & 7;
}
