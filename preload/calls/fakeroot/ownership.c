/* Owners and modes that are remembered: showing them, and recording those of new names. What
 * changes them on request is in chown.c. */
#include "ownership.h"

#include "../../uufs/change/owner.h"
#include "../../uufs/lock.h"
#include "../../uufs/path.h"
#include "../../uufs/proclink.h"
#include "../../uufs/walk/fromhost.h"
#include "acl.h"
#include "cred.h"

#include <sys/stat.h>

/* ---- showing ---- */

/* Whom the kernel takes us for: emulated calls change nothing of that. */
static const struct host_ids {
    uint32_t uid, gid;
    bool known;
} * host_ids(void)
{
    static struct host_ids ids;

    if (!__atomic_load_n(&ids.known, __ATOMIC_ACQUIRE)) {
        ids.uid = (uint32_t)sys0(SYS_geteuid);
        ids.gid = (uint32_t)sys0(SYS_getegid);
        __atomic_store_n(&ids.known, true, __ATOMIC_RELEASE);
    }
    return &ids;
}

/* Without a record a file of ours is root's. The group of the upper's files says nothing: it may be
 * that of the folder the store lies in. */
static void
show_default(struct stat *st, bool in_union)
{
    uint32_t uid = host_ids()->uid;

    if (st->st_gid == host_ids()->gid || (in_union && uid))
        st->st_gid = 0;
    if (st->st_uid == uid)
        st->st_uid = 0;
}

static void
show_node(const struct view_node *n, struct stat *st)
{
    st->st_uid = n->tar_uid;
    st->st_gid = n->tar_gid;
    if (!S_ISLNK(n->tar_mode))
        st->st_mode = n->tar_mode;
    st->st_rdev = n->rdev;
}

void
ownership_show_upper(const struct extra_file *file, struct stat *st)
{
    struct owner owner;

    if (owner_read(&engine.fs, file, &owner) == 1)
        owner_apply(&owner, st);
    else
        show_default(st, true);
}

/* The lower node whose file a descriptor keeps open, whatever its name shows by now; or NULL. */
static const struct view_node *
node_behind(const char *host, const struct stat *st)
{
    char ctr[LPMX_PATH_MAX];
    const struct view_node *n;
    uint32_t node = 0;

    if (!uufs_host_is_lower(&engine.fs, host) || uufs_from_host(&engine.fs, host, ctr, sizeof(ctr)))
        return NULL;
    for (const char *p = ctr + 1, *end; *p && node != VIEW_NONE; p = *end ? end + 1 : end) {
        for (end = p; *end && *end != '/';)
            end++;
        node = view_child(&engine.fs.view, node, p, (size_t)(end - p));
    }
    n = view_node(&engine.fs.view, node);
    return n && n->ino == st->st_ino ? n : NULL;
}

static OWN_FRAME void
show_link(const char *link, struct stat *st)
{
    struct extra_file file = {.path = link, .follow = true, .st = *st};
    char host[LPMX_PATH_MAX];
    const struct view_node *n;
    long len = sys4(SYS_readlinkat, AT_FDCWD, link, host, sizeof(host) - 1);

    host[len > 0 ? len : 0] = '\0';
    n = node_behind(host, st);
    if (n)
        show_node(n, st);
    else if (ownership_in_upper(host)) /* also when its name is gone */
        ownership_show_upper(&file, st);
    else
        show_default(st, false);
}

static bool
is_kept(const struct stat *st)
{
    return S_ISREG(st->st_mode) || S_ISDIR(st->st_mode) || S_ISLNK(st->st_mode) ||
           S_ISFIFO(st->st_mode) || S_ISSOCK(st->st_mode);
}

void
ownership_show(const struct uufs_hit *hit, struct stat *st)
{
    struct extra_file file = {.path = hit->host, .st = *st};
    const struct view_node *n;

    if (hit->magic && !S_ISLNK(st->st_mode) && is_kept(st)) {
        show_link(hit->host, st);
    } else if (!hit->in_union) {
        show_default(st, false);
    } else if (hit->where == UUFS_LOWER) {
        n = view_node(&engine.fs.view, hit->node);
        if (n)
            show_node(n, st);
        else
            show_default(st, true);
    } else {
        ownership_show_upper(&file, st);
    }
}

void
ownership_show_fd(int fd, struct stat *st)
{
    char link[PROC_LINK_SIZE];

    if (fd == AT_FDCWD)
        memcpy(link, "/proc/self/cwd", 15);
    else
        proc_link_fd(fd, link);
    if (is_kept(st))
        show_link(link, st);
    else
        show_default(st, false);
}

/* Also what has left it: a removed folder goes by way of WORK, and takes what is open in it along.
 */
bool
ownership_in_upper(const char *host)
{
    return uufs_below_upper(&engine.fs, host) || uufs_below_work(&engine.fs, host);
}

OWN_FRAME bool
ownership_in_union(const char *link)
{
    char host[LPMX_PATH_MAX];
    long n = sys4(SYS_readlinkat, AT_FDCWD, link, host, sizeof(host) - 1);

    host[n > 0 ? n : 0] = '\0';
    return uufs_host_is_lower(&engine.fs, host) || ownership_in_upper(host);
}

/* ---- recording ---- */

/* The disk gets the mode that we can work with; what else is to be shown goes into the record, or
 * none is kept where the default says it all. */
int
ownership_store(const struct extra_file *file, const struct stat *shown)
{
    uint32_t disk = owner_disk_mode(file->st.st_mode & S_IFMT, shown->st_mode);
    struct owner owner = {shown->st_uid, shown->st_gid, shown->st_mode, disk,
                          (uint32_t)shown->st_rdev};
    struct stat plain = file->st;
    long r = 0;

    if (S_ISLNK(file->st.st_mode))
        owner.mode = disk = owner.disk = file->st.st_mode;
    else if (disk != file->st.st_mode)
        r = sys3(SYS_fchmodat, AT_FDCWD, file->path, disk & 07777);
    if (r)
        return (int)r;
    show_default(&plain, true);
    if (owner.uid == plain.st_uid && owner.gid == plain.st_gid && owner.mode == disk) {
        r = extra_remove(&engine.fs, file, OWNER_NAME);
        return r == -ENODATA || r == -EOPNOTSUPP ? 0 : (int)r;
    }
    return owner_write(&engine.fs, file, &owner);
}

unsigned long
ownership_new_mode(unsigned long mode, bool directory)
{
    return (mode & ~06000ul) | (directory ? 0700 : 0600);
}

/* The group that names in a directory get from it: 1 when its set-group-id bit says so. */
static bool
inherits_group(const char *parent, uint32_t *gid)
{
    struct extra_file file = {.path = parent};
    struct stat st;

    if (extra_file_stat(&file))
        return false;
    st = file.st;
    ownership_show_upper(&file, &st);
    *gid = st.st_gid;
    return st.st_mode & S_ISGID;
}

static int
record_new(struct extra_file *file, const char *parent, unsigned long mode, unsigned long forced)
{
    const struct cred *c = cred_now();
    struct stat shown = {.st_uid = c->user.fs, .st_gid = c->group.fs};
    bool inherits = inherits_group(parent, &shown.st_gid);
    int err;

    if (!inherits)
        shown.st_gid = c->group.fs;
    if (!inherits && !shown.st_uid && !shown.st_gid && !(forced & ~mode) && !(mode & 06000))
        return 0;
    err = extra_file_stat(file);
    if (err)
        return err;
    shown.st_mode = (uint32_t)(file->st.st_mode & ~(forced & ~mode));
    if (S_ISDIR(shown.st_mode) && inherits)
        shown.st_mode |= S_ISGID;
    else if (!S_ISDIR(shown.st_mode))
        shown.st_mode |= mode & 06000;
    return ownership_store(file, &shown);
}

OWN_FRAME int
ownership_created(const struct uufs_hit *hit, unsigned long mode)
{
    struct extra_file file = {.path = hit->host};
    char parent[LPMX_PATH_MAX];
    size_t len = path_parent(hit->host, hit->host_len);
    bool directory = hit->type == S_IFDIR;

    memcpy(parent, hit->host, len);
    parent[len] = '\0';
    return record_new(&file, parent, mode, directory ? 0700 : 0600);
}

int
ownership_created_fd(int fd, const char *parent, unsigned long mode)
{
    char link[PROC_LINK_SIZE];
    struct extra_file file = {.path = link, .follow = true};

    proc_link_fd(fd, link);
    return record_new(&file, parent, mode, 0600);
}

/* The bits that a write by somebody who may not keep them takes away. */
static uint32_t
bits_lost(const struct cred *c, const struct stat *st)
{
    uint32_t lost = st->st_mode & S_ISUID;

    if (st->st_mode & S_IXGRP || !cred_in_group(c, st->st_gid))
        lost |= st->st_mode & S_ISGID;
    return lost;
}

void
ownership_written(const struct uufs_hit *hit)
{
    struct extra_file file = {.path = hit->host};
    const struct cred *c = cred_now();
    struct stat shown;
    int lock;

    if (!hit->in_union || cred_has(c, CRED_CAP_FSETID) || extra_file_stat(&file))
        return;
    shown = file.st;
    ownership_show_upper(&file, &shown);
    if (!S_ISREG(shown.st_mode) || !bits_lost(c, &shown))
        return;
    lock = uufs_lock(&engine.fs);
    if (lock < 0)
        return;
    if (!extra_file_stat(&file)) {
        shown = file.st;
        ownership_show_upper(&file, &shown);
        shown.st_mode &= ~bits_lost(c, &shown);
        ownership_store(&file, &shown);
        extra_remove(&engine.fs, &file, "security.capability");
    }
    uufs_unlock(lock);
}

/* ---- devices ---- */

/* ---- access ---- */

static int
mode_allows(const struct stat *st, unsigned want, uint32_t uid, bool in_group, bool overrides)
{
    unsigned bits = st->st_mode;

    if (overrides)
        return !(want & 1) || S_ISDIR(bits) || bits & 0111 ? 0 : -EACCES;
    bits = uid == st->st_uid ? bits >> 6 : in_group ? bits >> 3 : bits;
    return (bits & want) == want ? 0 : -EACCES;
}

int
ownership_access(const struct uufs_hit *hit, unsigned want, bool effective)
{
    const struct cred *c = cred_now();
    uint32_t uid = effective ? c->user.effective : c->user.real;
    uint32_t gid = effective ? c->group.effective : c->group.real;
    struct stat st;
    long r = sys4(SYS_newfstatat, AT_FDCWD, hit->host, &st, AT_SYMLINK_NOFOLLOW);
    bool in_group, overrides = effective ? cred_has(c, CRED_CAP_DAC_OVERRIDE) : !uid;

    if (r)
        return (int)r;
    ownership_show(hit, &st);
    if (!overrides && uid != st.st_uid && hit->where != UUFS_LOWER) {
        r = acl_check(hit->host, false, &(struct acl_question){&st, want, uid, gid});
        if (r <= 0)
            return (int)r;
    }
    in_group = cred_is_member(c, gid, st.st_gid);
    return mode_allows(&st, want, uid, in_group, overrides);
}
