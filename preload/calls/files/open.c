/* open, openat, creat, openat2: the life of one open() ends here, see docs/architecture.md. */
#include "../../base/libc.h"
#include "../../uufs/change/create.h"
#include "../../uufs/dirty.h"
#include "../../uufs/hostfd.h"
#include "../fakeroot/cred.h"
#include "../fakeroot/device.h"
#include "../fakeroot/ownership.h"
#include "../fakeroot/permission.h"
#include "../paths/dircache.h"
#include "../paths/resolve.h"
#include "../proc/files.h"
#include "../program/perform.h"
#include "../program/usermem.h"
#include "lower.h"

#include <linux/openat2.h>
#include <sys/stat.h>

HOT_FILE;

struct open_request {
    unsigned long flags, mode;
    uint64_t resolve; /* RESOLVE_* of openat2 */
    bool writes, creates, exclusive;
};

static struct open_request
request(unsigned long flags, unsigned long mode, uint64_t resolve)
{
    struct open_request r = {.flags = flags | O_LARGEFILE, .mode = mode, .resolve = resolve};

    if (flags & O_PATH)
        return r;
    r.creates = flags & O_CREAT;
    r.exclusive = r.creates && (flags & O_EXCL);
    r.writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
    return r;
}

static bool
may_wait(const struct call *c, const struct uufs_hit *hit, const struct open_request *r)
{
    uint32_t type = hit->type;
    struct stat st;

    if (r->flags & (O_NONBLOCK | O_PATH | O_DIRECTORY))
        return false;
    if (!type && c->fast &&
        !sys4(SYS_newfstatat, AT_FDCWD, hit->host, &st,
              r->flags & O_NOFOLLOW ? AT_SYMLINK_NOFOLLOW : 0))
        type = st.st_mode & S_IFMT;
    return type != S_IFREG && type != S_IFDIR;
}

/* Bytes of hit->host above which nothing of the container's can move. */
static size_t
fixed_len(const struct uufs_hit *hit)
{
    const struct uufs_bind *b = hit->bind >= 0 ? &engine.fs.binds[hit->bind] : NULL;

    if (hit->in_union)
        return hit->where == UUFS_LOWER ? 0 : engine.fs.upper_len;
    return b && !hit->magic && !(b->flags & UUFS_BIND_FILE) ? b->src_len : 0;
}

/* openat2 as the last step, by @path from @fd. */
COLD static long
open_by_how(const struct call *c, int fd, const char *path, const struct open_request *r,
            uint64_t resolve, bool waits)
{
    struct open_how how = {.flags = r->flags, .resolve = resolve};

    if (r->flags & O_PATH)
        how.flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    else if (r->flags & O_CREAT || (r->flags & O_TMPFILE) == O_TMPFILE)
        how.mode = r->mode;
    if (waits)
        return call_blocking(c, SYS_openat2, (unsigned long)fd, (unsigned long)path,
                             (unsigned long)&how, sizeof(how), 0, 0);
    return sys4(SYS_openat2, fd, path, &how, sizeof(how));
}

/* The walk has found @hit, and somebody may have put a symlink on the way since: one that was to be
 * avoided must not be followed by the kernel now. */
COLD static long
open_resolved(const struct call *c, const struct uufs_hit *hit, const struct open_request *r,
              bool waits)
{
    uint64_t cached = r->resolve & RESOLVE_CACHED,
             inside = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;
    size_t len = fixed_len(hit);
    char top[LPMX_PATH_MAX];
    long fd, result;

    if (!len || !hit->host[len])
        return open_by_how(c, AT_FDCWD, hit->host, r, cached, waits);
    if (hit->bind >= 0 && engine.fs.binds[hit->bind].flags & UUFS_BIND_PROC)
        inside &= ~(uint64_t)RESOLVE_NO_SYMLINKS; /* /proc's own are the kernel's */
    memcpy(top, hit->host, len);
    top[len] = '\0';
    fd = hostfd_open(top, O_PATH | O_DIRECTORY, 0);
    if (fd < 0)
        return fd;
    result = open_by_how(c, (int)fd, hit->host + len + (len > 1), r, cached | inside, waits);
    sys1(SYS_close, fd);
    return result;
}

/* Opening a FIFO or a device may wait: then signals must get through as without us. */
static long
open_host(struct call *c, const struct uufs_hit *hit, const struct open_request *r)
{
    bool waits = may_wait(c, hit, r);

    if (waits && c->fast)
        return CALL_DECLINE;
    if (r->resolve)
        return open_resolved(c, hit, r, waits);
    if (waits)
        return call_blocking(c, SYS_openat, (unsigned long)AT_FDCWD, (unsigned long)hit->host,
                             r->flags, r->mode, 0, 0);
    return sys4(SYS_openat, AT_FDCWD, hit->host, r->flags, r->mode);
}

/* Combinations that this very kernel refuses, before it looks at any path. */
static int
check_flags(const struct open_request *r)
{
    unsigned long odd = r->flags & (O_DIRECTORY | O_CREAT | O_TMPFILE);

    if (!(odd & O_DIRECTORY) || odd == O_DIRECTORY || r->flags & O_PATH)
        return 0;
    return sys4(SYS_openat, AT_FDCWD, "", r->flags, r->mode) == -EINVAL ? -EINVAL : 0;
}

/* O_CREAT with a path that ends in a slash or a dot: what it names is no file, there or not. */
static int
refuse_directory(const struct open_request *r, unsigned long path)
{
    int dots = r->exclusive ? call_last_is_dots(path) : 0;

    return dots < 0 ? dots : dots ? -EEXIST : -EISDIR;
}

/* A new file under root emulation. */
static long
open_owned(struct call *c, const struct uufs_hit *hit, struct open_request *r)
{
    unsigned long mode = r->mode;
    long fd, err;

    r->mode = ownership_new_mode(mode, false);
    fd = open_host(c, hit, r);
    err = fd < 0 ? 0 : ownership_created(hit, mode);
    if (!err)
        return fd;
    sys1(SYS_close, fd);
    return err;
}

static long
open_new(struct call *c, struct uufs_hit *hit, struct open_request *r)
{
    int err = 0;

    if (hit->in_union && !hit->read_only)
        err = permission_to_make(hit);
    if (!err && hit->in_union)
        err = uufs_prepare_create(&engine.fs, hit);
    else if (!err && hit->read_only)
        err = -EROFS;
    if (err)
        return err;
    hit->type = S_IFREG;
    if (!emulates_root() || !hit->in_union)
        return open_host(c, hit, r);
    return open_owned(c, hit, r);
}

/* A file without a name belongs to who made it. */
static long
open_present(struct call *c, const struct uufs_hit *hit, struct open_request *r)
{
    unsigned long mode = r->mode;
    long fd, err;

    if ((r->flags & O_TMPFILE) != O_TMPFILE || !emulates_root() || !hit->in_union)
        return open_host(c, hit, r);
    r->mode = ownership_new_mode(mode, false);
    fd = open_host(c, hit, r);
    err = fd < 0 ? 0 : ownership_created_fd((int)fd, hit->host, mode);
    if (!err)
        return fd;
    sys1(SYS_close, fd);
    return err;
}

/* What the open would ask of the file: R_OK, W_OK. */
static int
access_wanted(const struct open_request *r)
{
    switch (r->flags & O_ACCMODE) {
    case O_RDONLY:
        return r->flags & O_TRUNC ? 6 : 4;
    case O_WRONLY:
        return 2;
    default:
        return 6;
    }
}

/* Most directories are opened to be asked about at once. @moves: from before it was looked up. */
static void
remember(int fd, const struct uufs_hit *hit, uint64_t moves)
{
    const struct view_node *n = view_node(&engine.fs.view, hit->node);
    uint64_t device;
    struct stat st;

    if (hit->where == UUFS_LOWER && n && lower_device(n->layer, &device))
        dircache_put(device, n->ino, 0, hit->ctr, hit->node);
    if (hit->where == UUFS_UPPER && moves && !sys2(SYS_fstat, fd, &st) && S_ISDIR(st.st_mode))
        dircache_put(st.st_dev, st.st_ino, moves, hit->ctr, hit->node);
}

static long
open_lower(struct call *c, struct uufs_hit *hit, struct open_request *r)
{
    bool temporary = (r->flags & O_TMPFILE) == O_TMPFILE;
    int err;

    if (hit->type == S_IFDIR && (r->writes || r->creates) && !temporary)
        return -EISDIR;
    if (hit->type != S_IFDIR && r->flags & O_DIRECTORY)
        return -ENOTDIR;
    if (hit->type == S_IFLNK && !(r->flags & O_PATH))
        return -ELOOP;
    if (hit->type == S_IFLNK)
        return sys3(SYS_openat, AT_FDCWD, hit->host, r->flags);
    if (hit->type == S_IFIFO && !(r->flags & O_PATH) && !hit->read_only)
        r->writes = true; /* who reads and who writes must meet, and not in the image */
    if (r->writes) {
        if (hit->read_only)
            return -EROFS;
        if (r->resolve & RESOLVE_CACHED)
            return -EAGAIN;
        err = (int)sys3(SYS_faccessat, AT_FDCWD, hit->host, access_wanted(r));
        if (err && err != -EROFS && !emulates_root())
            return err;
        err =
            uufs_copy_up(&engine.fs, hit, r->flags & O_TRUNC ? UUFS_COPY_NO_DATA : UUFS_COPY_DATA);
        if (err)
            return err;
    }
    r->flags &= ~(unsigned long)O_CREAT;
    return open_present(c, hit, r);
}

static long
open_found(struct call *c, struct uufs_hit *hit, struct open_request *r)
{
    if (hit->where == UUFS_LOWER)
        return open_lower(c, hit, r);
    if (hit->read_only && r->writes &&
        (hit->in_union ? hit->type == S_IFREG || hit->type == S_IFDIR : true))
        return -EROFS;
    return open_present(c, hit, r);
}

COLD static unsigned
how_resolved(uint64_t resolve)
{
    return (resolve & RESOLVE_NO_SYMLINKS ? UUFS_NO_SYMLINKS : 0) |
           (resolve & RESOLVE_NO_MAGICLINKS ? UUFS_NO_MAGIC : 0) |
           (resolve & RESOLVE_NO_XDEV ? UUFS_NO_XDEV : 0) |
           (resolve & RESOLVE_BENEATH ? UUFS_BENEATH : 0) |
           (resolve & RESOLVE_IN_ROOT ? UUFS_IN_ROOT : 0);
}

static long
open_at(struct call *c, int dirfd, unsigned long path, struct open_request r)
{
    unsigned long flags = r.flags;
    const char *device;
    struct uufs_hit hit;
    uint64_t moves = uufs_moves(&engine.fs);
    long result;
    unsigned how = (r.creates ? UUFS_MISSING | UUFS_LAST : 0) |
                   (flags & O_NOFOLLOW || r.exclusive ? 0 : UUFS_FOLLOW) |
                   (r.resolve ? how_resolved(r.resolve) : 0);
    int err = check_flags(&r);

    if (!err)
        err = call_walk(dirfd, path, how, &hit);
    if (!err && r.creates && hit.must_be_dir)
        err = refuse_directory(&r, path);
    if (err)
        return err;
    if (!hit.in_union && !r.writes && !r.exclusive && !(flags & (O_PATH | O_DIRECTORY)) &&
        procfile_is(&hit))
        return procfile_open(c, &hit, flags);
    if (hit.magic && r.writes)
        err = call_leave_magic(&hit);
    if (err)
        return err;
    if (hit.where == UUFS_ABSENT)
        return open_new(c, &hit, &r);
    if (r.exclusive)
        return hit.where == UUFS_BIND && !hit.read_only ? open_host(c, &hit, &r) : -EEXIST;
    err = permission_to_open(&hit, flags);
    if (err)
        return err;
    if (emulates_root() && !(flags & O_PATH) && (device = device_of(&hit)))
        return *device ? sys3(SYS_openat, AT_FDCWD, device, r.flags & ~(O_CREAT | O_TRUNC))
                       : -ENXIO;
    result = open_found(c, &hit, &r);
    if (result >= 0 && r.writes && emulates_root())
        ownership_written(&hit);
    if (result >= 0 && hit.type == S_IFDIR)
        remember((int)result, &hit, moves);
    return result;
}

long
call_open(struct call *c)
{
    return open_at(c, AT_FDCWD, c->a[0], request(c->a[1], c->a[2], 0));
}

long
call_openat(struct call *c)
{
    return open_at(c, (int)c->a[0], c->a[1], request(c->a[2], c->a[3], 0));
}

long
call_creat(struct call *c)
{
    return open_at(c, AT_FDCWD, c->a[0], request(O_CREAT | O_WRONLY | O_TRUNC, c->a[1], 0));
}

/* The kernel judges flags, mode, size and what lies behind the fields it knows; the walk and the
 * last step do what the resolve flags say. What would change something is not in the cache. */
COLD long
call_openat2(struct call *c)
{
    struct open_how how;
    long r = sys4(SYS_openat2, AT_FDCWD, "", c->a[2], c->a[3]);

    if (r != -ENOENT)
        return r < 0 ? r : -EINVAL;
    r = user_copy(&how, c->a[2], sizeof(how));
    return r ? r : open_at(c, (int)c->a[0], c->a[1], request(how.flags, how.mode, how.resolve));
}
