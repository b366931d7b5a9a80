/* Extended attributes. What is ours (user.lpmx.*) is never shown nor set by a program. Under root
 * emulation attributes of the security and trusted namespaces, which no ordinary user may set, are
 * remembered (uufs/change/owner.h), file capabilities above all. */
#include "../../base/libc.h"
#include "../../uufs/proclink.h"
#include "../fakeroot/acl.h"
#include "../fakeroot/cred.h"
#include "../fakeroot/device.h"
#include "../fakeroot/ownership.h"
#include "../fakeroot/permission.h"
#include "../paths/descriptor.h"
#include "../paths/resolve.h"
#include "../program/perform.h"
#include "../program/usermem.h"

#include <linux/limits.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define LIST_MAX   65536 /* XATTR_LIST_MAX of the kernel */
#define LIST_SMALL 4096

/* The file a call is about. */
struct subject {
    struct uufs_hit hit; /* of a path */
    char link[PROC_LINK_SIZE];
    const char *path; /* host path, or /proc/self/fd/N */
    bool follow;
    bool in_union;
    bool descriptor;
    int fd;
};

static bool
has_prefix(const char *s, const char *prefix)
{
    return !strncmp(s, prefix, strlen(prefix));
}

static bool
is_ours(const char *name)
{
    return has_prefix(name, EXTRA_ATTR_PREFIX);
}

/* Kept by us rather than by the disk? POSIX ACLs, in system.*, are the disk's (acl.h). */
static bool
is_kept(const struct subject *s, const char *name)
{
    return emulates_root() && s->in_union &&
           (has_prefix(name, "security.") || has_prefix(name, "trusted."));
}

static int
find_subject(struct call *c, struct subject *s)
{
    int err;

    s->descriptor = c->row->path < 0;
    if (s->descriptor) {
        long flags = sys3(SYS_fcntl, (int)c->a[0], F_GETFL, 0);

        if (flags < 0 || flags & O_PATH)
            return -EBADF;
        proc_link_fd((int)c->a[0], s->link);
        s->path = s->link;
        s->fd = (int)c->a[0];
        s->follow = true;
        s->in_union = emulates_root() && ownership_in_union(s->link);
        return 0;
    }
    err = call_resolve(c, &s->hit);
    if (!err && s->hit.magic && c->row->intent == INTENT_change)
        err = call_leave_magic(&s->hit);
    s->path = s->hit.host;
    s->follow = s->hit.magic && call_how(c) & UUFS_FOLLOW;
    s->in_union = s->hit.in_union;
    return err;
}

/* The call as it came, on what was found. */
static long
perform(struct call *c, const struct subject *s)
{
    if (!s->descriptor)
        c->a[0] = (unsigned long)s->path;
    return call_raw(c);
}

static int
name_of(struct call *c, char *name)
{
    int err = user_string(name, XATTR_NAME_MAX + 1, c->a[1]);

    return err == -ENAMETOOLONG || (!err && !name[0]) ? -ERANGE : err;
}

static int
extra_file(const struct subject *s, struct extra_file *file)
{
    *file = (struct extra_file){.path = s->path, .follow = s->follow};
    return extra_file_stat(file);
}

static bool
is_acl(const char *name)
{
    return !strcmp(name, ACL_ACCESS) || !strcmp(name, ACL_DEFAULT);
}

/* Only its owner and root may change who may use a file. */
static int
may_set_acl(const struct subject *s)
{
    struct extra_file file;
    int err = cred_has(cred_now(), CRED_CAP_FOWNER) ? 0 : extra_file(s, &file);

    if (err || cred_has(cred_now(), CRED_CAP_FOWNER))
        return err;
    if (s->descriptor)
        ownership_show_fd(s->fd, &file.st);
    else
        ownership_show(&s->hit, &file.st);
    return file.st.st_uid == cred_now()->user.fs ? 0 : -EPERM;
}

/* A user's attribute is read and written as the file is, an ACL written as the mode is. */
static int
may_use(const struct subject *s, const char *name, unsigned want)
{
    if (emulates_root() && s->in_union && want == PERMISSION_WRITE && is_acl(name))
        return may_set_acl(s);
    if (!has_prefix(name, "user."))
        return 0;
    if (emulates_root() && !s->descriptor && device_of(&s->hit))
        return want == PERMISSION_WRITE ? -EPERM : -ENODATA; /* as in xattr(7) */
    return s->descriptor ? permission_check_fd(s->fd, want) : permission_check(&s->hit, want);
}

/* The access ACL as it is on the disk, with the owner's entry as it is shown. */
static long
get_acl(const struct call *c, const struct subject *s)
{
    char value[ACL_MAX];
    struct extra_file file;
    struct stat shown;
    int err = extra_file(s, &file);
    long r = err ? err
                 : sys4(s->follow ? SYS_getxattr : SYS_lgetxattr, s->path, ACL_ACCESS, value,
                        sizeof(value));

    if (r <= 0 || !c->a[3])
        return r;
    if ((unsigned long)r > c->a[3])
        return -ERANGE;
    shown = file.st;
    ownership_show_upper(&file, &shown);
    acl_show_owner(value, (size_t)r, shown.st_mode);
    err = user_put(c->a[2], value, (size_t)r);
    return err ? err : r;
}

/* The disk gets the ACL with an owner's entry that we can work with, and the mode is remembered. */
static long
set_acl(const struct call *c, const struct subject *s)
{
    char value[ACL_MAX];
    struct extra_file file;
    struct stat shown;
    uint32_t mode;
    int err = c->a[3] > sizeof(value) ? -EINVAL : user_copy(value, c->a[2], c->a[3]);
    long r;

    if (!err)
        err = extra_file(s, &file);
    if (!err)
        err = acl_open_owner(value, c->a[3], file.st.st_mode & S_IFMT, &mode);
    if (err)
        return err;
    shown = file.st;
    ownership_show_upper(&file, &shown);
    r = sys5(s->follow ? SYS_setxattr : SYS_lsetxattr, s->path, ACL_ACCESS, value, c->a[3],
             c->a[4]);
    if (r || extra_file_stat(&file))
        return r;
    shown.st_mode = (shown.st_mode & ~0777u) | mode;
    return ownership_store(&file, &shown);
}

long
call_getxattr(struct call *c)
{
    char name[XATTR_NAME_MAX + 1];
    struct subject s;
    struct extra_file file;
    int err = find_subject(c, &s);
    long r;

    if (!err)
        err = name_of(c, name);
    if (err)
        return err;
    if (is_ours(name))
        return -ENODATA;
    err = may_use(&s, name, PERMISSION_READ);
    if (err)
        return err;
    if (emulates_root() && s.in_union && !strcmp(name, ACL_ACCESS))
        return get_acl(c, &s);
    if (!is_kept(&s, name))
        return perform(c, &s);
    if (has_prefix(name, "trusted.") && !cred_has(cred_now(), CRED_CAP_SYS_ADMIN))
        return -ENODATA;
    err = extra_file(&s, &file);
    if (err)
        return err;
    r = extra_get(&engine.fs, &file, name, (void *)c->a[2], c->a[3]);
    return r == -ENODATA ? perform(c, &s) : r;
}

/* Before a change: the file is in the upper. */
static int
make_writable(struct call *c, struct subject *s)
{
    int err;

    if (s->descriptor)
        return call_descriptor_up((int)c->a[0]);
    err = call_make_writable(&s->hit, UUFS_COPY_DATA);
    s->path = s->hit.host;
    return err;
}

static int
may_change(const char *name)
{
    bool caps = !strcmp(name, "security.capability");

    return cred_has(cred_now(), caps ? CRED_CAP_SETFCAP : CRED_CAP_SYS_ADMIN) ? 0 : -EPERM;
}

static long
set_kept(struct call *c, const struct subject *s, const char *name)
{
    struct extra_file file;
    bool present;
    int err = may_change(name);

    if (!err && c->a[3] > LIST_MAX)
        err = -E2BIG;
    if (!err)
        err = extra_file(s, &file);
    if (err)
        return err;
    present = extra_get(&engine.fs, &file, name, NULL, 0) >= 0;
    if (present && c->a[4] & XATTR_CREATE)
        return -EEXIST;
    if (!present && c->a[4] & XATTR_REPLACE)
        return -ENODATA;
    return extra_set(&engine.fs, &file, name, (const void *)c->a[2], c->a[3]);
}

long
call_setxattr(struct call *c)
{
    char name[XATTR_NAME_MAX + 1];
    struct subject s;
    int err = find_subject(c, &s);

    if (!err)
        err = name_of(c, name);
    if (!err && is_ours(name))
        err = -EPERM;
    if (!err)
        err = may_use(&s, name, PERMISSION_WRITE);
    if (!err)
        err = make_writable(c, &s);
    if (err)
        return err;
    if (emulates_root() && s.in_union && !strcmp(name, ACL_ACCESS))
        return set_acl(c, &s);
    return is_kept(&s, name) ? set_kept(c, &s, name) : perform(c, &s);
}

/* What is not there is not removed: a lower file stays where it is. */
static int
must_have(const struct call *c, const struct subject *s, const char *name)
{
    uint32_t type = s->hit.type;
    struct stat st;
    long r;

    if (s->descriptor)
        type = sys2(SYS_fstat, c->a[0], &st) ? 0 : st.st_mode & S_IFMT;
    if (type != S_IFREG && type != S_IFDIR)
        return 0; /* they have none, and another error says so */
    if (s->descriptor)
        r = sys4(SYS_fgetxattr, c->a[0], name, NULL, 0);
    else
        r = sys4(SYS_lgetxattr, s->path, name, NULL, 0);
    return r < 0 ? (int)r : 0;
}

long
call_removexattr(struct call *c)
{
    char name[XATTR_NAME_MAX + 1];
    struct subject s;
    struct extra_file file;
    int err = find_subject(c, &s);

    if (!err)
        err = name_of(c, name);
    if (!err && is_ours(name))
        err = -ENODATA;
    if (!err)
        err = may_use(&s, name, PERMISSION_WRITE);
    if (!err && !is_kept(&s, name))
        err = must_have(c, &s, name);
    if (!err)
        err = make_writable(c, &s);
    if (err)
        return err;
    if (!is_kept(&s, name))
        return perform(c, &s);
    err = may_change(name);
    if (!err)
        err = extra_file(&s, &file);
    return err ? err : extra_remove(&engine.fs, &file, name);
}

/* Leave out what is ours; under root emulation what we keep gets its own name back. */
static long
filter(const struct subject *s, char *list, long n)
{
    bool trusted = emulates_root() && cred_has(cred_now(), CRED_CAP_SYS_ADMIN);
    long out = 0, len;

    for (long at = 0; at < n; at += len) {
        const char *name = list + at, *kept = name + EXTRA_ATTR_PREFIX_LEN;

        len = (long)strlen(name) + 1;
        if (is_ours(name) && (!is_kept(s, kept) || (has_prefix(kept, "trusted.") && !trusted)))
            continue;
        if (is_ours(name)) {
            memmove(list + out, kept, (size_t)len - EXTRA_ATTR_PREFIX_LEN);
            out += len - EXTRA_ATTR_PREFIX_LEN;
        } else {
            memmove(list + out, name, (size_t)len);
            out += len;
        }
    }
    return out;
}

/* The names into @list of @size bytes: as the disk has them, then those kept beside. */
static long
collect(const struct subject *s, char *list, size_t size)
{
    struct extra_file file;
    long n = sys3(s->follow ? SYS_listxattr : SYS_llistxattr, s->path, list, size), beside = 0;

    if (n == -EOPNOTSUPP && emulates_root())
        n = 0;
    if (n < 0)
        return n;
    n = filter(s, list, n);
    if (emulates_root() && s->in_union && !extra_file(s, &file)) {
        beside = extra_list_beside(&engine.fs, &file, list + n, size - (size_t)n);
        for (long at = 0, len; at < beside; at += len) { /* the owner is no attribute */
            char *name = list + n + at;

            len = (long)strlen(name) + 1;
            if (is_kept(s, name))
                continue;
            memmove(name, name + len, (size_t)(beside - at - len));
            beside -= len;
            len = 0;
        }
    }
    return beside < 0 ? beside : n + beside;
}

long
call_listxattr(struct call *c)
{
    char small[LIST_SMALL], *list = small;
    struct subject s;
    int err = find_subject(c, &s);
    long n;

    if (err)
        return err;
    n = collect(&s, list, sizeof(small));
    if (n == -ERANGE) {
        n = sys6(SYS_mmap, 0, LIST_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (sys_failed(n))
            return n;
        list = (char *)n;
        n = collect(&s, list, LIST_MAX);
    }
    if (n > 0 && c->a[2] && (unsigned long)n > c->a[2])
        n = -ERANGE;
    if (n > 0 && c->a[2]) {
        err = user_put(c->a[1], list, (size_t)n);
        n = err ? err : n;
    }
    if (list != small)
        sys2(SYS_munmap, list, LIST_MAX);
    return n;
}
