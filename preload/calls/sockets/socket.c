/* Unix sockets have paths too. The address is replaced by one that names the host path; where that
 * is longer than the 107 bytes of sun_path, the directory is opened and the socket named through
 * /proc/self/fd. */
#include "../../base/str.h"
#include "../../uufs/change/create.h"
#include "../../uufs/proclink.h"
#include "../../uufs/walk/fromhost.h"
#include "../../uufs/walk/walk.h"
#include "../fakeroot/cred.h"
#include "../fakeroot/ownership.h"
#include "../fakeroot/permission.h"
#include "../paths/longpath.h"
#include "../paths/resolve.h"
#include "../program/perform.h"
#include "../program/usermem.h"
#include "latefilter.h"
#include "peers.h"
#include "ports.h"
#include "sockbind.h"
#include "sockname.h"

#define MAX_MESSAGES 1024

struct address {
    struct sockaddr_un un;
    unsigned len;
    int dir; /* descriptor of the directory, or -1 */
};

/* Sockets of other families take such an address for nonsense, whatever it names. */
static bool
is_unix(unsigned long fd)
{
    int domain = -1, size = sizeof(domain);

    return !sys5(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) && domain == AF_UNIX;
}

/* Does @p point to an address with a path, for the unix socket @fd? Copies it to @un,
 * NUL-terminated. 1, 0 or -errno. */
static int
is_path_address(unsigned long fd, unsigned long p, unsigned len, struct sockaddr_un *un)
{
    int err;

    if (!p || len <= PATH_OFFSET || len > sizeof(*un))
        return 0;
    memset(un, 0, sizeof(*un));
    err = user_copy(un, p, len);
    if (err)
        return err;
    return un->sun_family == AF_UNIX && un->sun_path[0] && is_unix(fd);
}

static int
name_through_directory(struct address *a, struct uufs_hit *hit)
{
    size_t slash = hit->host_len, len = 0;
    long fd;
    int err;

    while (slash && hit->host[slash - 1] != '/')
        slash--;
    hit->host[slash - 1] = '\0';
    fd = sys4(SYS_openat, AT_FDCWD, hit->host, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        return (int)fd;
    a->dir = (int)fd;
    len = proc_link_fd((int)fd, a->un.sun_path);
    err = str_append(a->un.sun_path, sizeof(a->un.sun_path), &len, "/", 1);
    if (!err)
        err = str_append(a->un.sun_path, sizeof(a->un.sun_path), &len, hit->host + slash,
                         strlen(hit->host + slash));
    a->len = (unsigned)(PATH_OFFSET + len + 1);
    if (err)
        sys1(SYS_close, fd);
    return err;
}

/* Point the address at the host path of @hit. */
static int
name_host(struct address *a, struct uufs_hit *hit)
{
    a->dir = -1;
    if (hit->host_len >= sizeof(a->un.sun_path))
        return name_through_directory(a, hit);
    memcpy(a->un.sun_path, hit->host, hit->host_len + 1);
    a->len = (unsigned)(PATH_OFFSET + hit->host_len + 1);
    return 0;
}

static int
walk_address(const char *path, unsigned how, struct uufs_hit *hit)
{
    char base[LPMX_PATH_MAX];
    int err = 0;

    base[0] = '\0';
    if (path[0] != '/')
        err = call_base(AT_FDCWD, base, sizeof(base));
    if (!err)
        err = uufs_walk(&engine.fs, base, path, how | permission_how(), hit);
    if (err == -ENAMETOOLONG && path[0] != '/')
        err = longpath_walk(AT_FDCWD, path, how, hit);
    return err;
}

/* A name as the kernel knows it, which another program was told and has passed on. */
static OWN_FRAME int
walk_host_name(const char *path, struct uufs_hit *hit)
{
    char ctr[LPMX_PATH_MAX];

    if (SOCKBIND_IS_ROOTED(path))
        return uufs_walk(&engine.fs, "/", path + SOCKBIND_ROOTED_LEN, UUFS_FOLLOW, hit);
    if (uufs_from_host(&engine.fs, path, ctr, sizeof(ctr)))
        return -ENOENT;
    return uufs_walk(&engine.fs, "/", ctr, UUFS_FOLLOW, hit);
}

/* The host's form of the address of a socket that is there. */
static int
translate(struct address *a)
{
    char path[sizeof(a->un.sun_path) + 1];
    struct uufs_hit hit;
    int err;

    memcpy(path, a->un.sun_path, sizeof(a->un.sun_path));
    path[sizeof(path) - 1] = '\0';
    err = walk_address(path, UUFS_FOLLOW, &hit);
    if (err == -ENOENT)
        err = walk_host_name(path, &hit);
    if (!err)
        err = permission_check(&hit, PERMISSION_WRITE);
    return err ? err : name_host(a, &hit);
}

/* Where a socket called @path is made. */
static int
find_place(const char *path, struct uufs_hit *hit)
{
    int err = walk_address(path, UUFS_MISSING, hit);

    if (err)
        return err;
    if (hit->where != UUFS_ABSENT)
        return -EADDRINUSE;
    if (hit->read_only)
        return -EROFS;
    err = permission_to_make(hit);
    if (!err && hit->in_union)
        err = uufs_prepare_create(&engine.fs, hit);
    return err;
}

static void
release(const struct address *a)
{
    if (a->dir >= 0)
        sys1(SYS_close, a->dir);
}

/* A socket that was just bound belongs to who bound it. */
static OWN_FRAME long
own_socket(const char *path)
{
    struct uufs_hit hit;
    char base[LPMX_PATH_MAX];

    base[0] = '\0';
    if (path[0] != '/' && call_base(AT_FDCWD, base, sizeof(base)))
        return 0;
    if (uufs_walk(&engine.fs, base, path, UUFS_ROOTED, &hit) || hit.where != UUFS_UPPER)
        return 0;
    return ownership_created(&hit, 0777);
}

/* The call with its address argument (pointer at index @at, length after it) replaced where it is a
 * path. */
static long
with_address(struct call *c, unsigned at)
{
    struct address a;
    struct inet_address inet;
    long r = is_path_address(c->a[0], c->a[at], (unsigned)c->a[at + 1], &a.un);

    if (r < 0)
        return r;
    if (r == 0 && port_outward(c->a[at], (unsigned)c->a[at + 1], false, &inet))
        c->a[at] = (unsigned long)&inet;
    if (r == 0)
        return call_blocking(c, c->row->nr, c->a[0], c->a[1], c->a[2], c->a[3], c->a[4], c->a[5]);
    r = translate(&a);
    if (r)
        return r;
    c->a[at] = (unsigned long)&a.un;
    c->a[at + 1] = a.len;
    r = call_blocking(c, c->row->nr, c->a[0], c->a[1], c->a[2], c->a[3], c->a[4], c->a[5]);
    release(&a);
    return r;
}

long
call_connect(struct call *c)
{
    if (emulates_root() && is_unix(c->a[0]))
        peers_note(PEER_CALLS);
    return with_address(c, 1);
}

/* Make the name @given, which @un holds, at @hit. */
static OWN_FRAME int
bind_path(int fd, const struct sockaddr_un *un, const char *given, struct uufs_hit *hit)
{
    struct address a = {.un = {.sun_family = AF_UNIX}, .dir = -1};
    int r = sockbind_bind(fd, hit, given);

    if (r <= 0)
        return r;
    r = name_host(&a, hit);
    if (r)
        return r;
    r = (int)sys3(SYS_bind, fd, &a.un, a.len);
    release(&a);
    if (!r)
        sockname_note(&a.un, un, (unsigned)(PATH_OFFSET + strlen(given) + 1));
    return r;
}

/* An address that is no path: a port, an abstract name ... */
static long
bind_other(struct call *c)
{
    struct inet_address inet;
    uint16_t family = 0;
    long r;

    if (port_outward(c->a[1], (unsigned)c->a[2], true, &inet))
        c->a[1] = (unsigned long)&inet;
    r = call_raw(c);
    if (!r && !user_copy(&family, c->a[1], sizeof(family)) && family == AF_UNIX)
        latefilter_for_socket((int)c->a[0]);
    return r;
}

long
call_bind(struct call *c)
{
    struct sockaddr_un un;
    char given[sizeof(un.sun_path) + 1];
    struct uufs_hit hit;
    int r = is_path_address(c->a[0], c->a[1], (unsigned)c->a[2], &un);

    if (r <= 0)
        return r ? r : bind_other(c);
    memcpy(given, un.sun_path, sizeof(un.sun_path));
    given[sizeof(given) - 1] = '\0';
    r = find_place(given, &hit);
    if (!r)
        r = bind_path((int)c->a[0], &un, given, &hit);
    if (!r)
        latefilter_for_socket((int)c->a[0]);
    if (!r && emulates_root())
        r = (int)own_socket(given);
    return r;
}

long
call_sendto(struct call *c)
{
    return with_address(c, 4);
}

/* A message as it is sent, where something of it has to be replaced. */
struct outgoing {
    struct msghdr m;
    struct address to;
    char control[PEERS_CONTROL];
};

/* The message at @user into @out, with a path that it is sent to, and under root emulation the
 * credentials in it, made the host's. 1 where that changed it, 0 or -errno. */
static int
translate_message(unsigned long fd, unsigned long user, struct outgoing *out)
{
    struct msghdr *m = &out->m;
    int r = user_copy(m, user, sizeof(*m)), credentials = 0;

    out->to.dir = -1;
    if (!r && m->msg_control && emulates_root())
        r = credentials = peers_send(m, out->control);
    if (r < 0)
        return r;
    r = is_path_address(fd, (unsigned long)m->msg_name, m->msg_namelen, &out->to.un);
    if (r <= 0)
        return r ? r : credentials;
    r = translate(&out->to);
    if (r)
        return r;
    m->msg_name = &out->to.un;
    m->msg_namelen = out->to.len;
    return 1;
}

long
call_sendmsg(struct call *c)
{
    struct outgoing out;
    long r;
    int translated = translate_message(c->a[0], c->a[1], &out);

    if (translated < 0)
        return translated;
    r = call_blocking(c, SYS_sendmsg, c->a[0], translated ? (unsigned long)&out.m : c->a[1],
                      c->a[2], 0, 0, 0);
    if (translated)
        release(&out.to);
    return r;
}

/* Is there nothing to replace in a message, as can be seen without a look at its parts? */
static bool
is_plain(const struct mmsghdr *user)
{
    return !user_readable(user, sizeof(*user)) && !user->msg_hdr.msg_name &&
           !(user->msg_hdr.msg_control && emulates_root());
}

/* Several messages: as one call where none has to be changed, else one by one. */
long
call_sendmmsg(struct call *c)
{
    struct mmsghdr *user = (struct mmsghdr *)c->a[1];
    unsigned long n = c->a[2] > MAX_MESSAGES ? MAX_MESSAGES : c->a[2], sent = 0;
    struct outgoing out;

    for (; sent < n; sent++) {
        int r = user_readable(&user[sent], sizeof(*user));

        if (!r)
            r = translate_message(c->a[0], (unsigned long)&user[sent].msg_hdr, &out);
        if (r == 0 && sent == 0) {
            /* the usual case: the first is plain, take it that all are until one turns up */
            unsigned long plain = 1;

            while (plain < n && is_plain(&user[plain]))
                plain++;
            if (plain == n)
                return call_blocking(c, SYS_sendmmsg, c->a[0], c->a[1], n, c->a[3], 0, 0);
        }
        if (r < 0)
            return sent ? (long)sent : r;
        long one = call_blocking(c, SYS_sendmsg, c->a[0],
                                 r ? (unsigned long)&out.m : (unsigned long)&user[sent].msg_hdr,
                                 c->a[3], 0, 0, 0);

        if (r)
            release(&out.to);
        if (one < 0)
            return sent ? (long)sent : one;
        user[sent].msg_len = (unsigned)one;
    }
    return (long)sent;
}

/* The kernel tells the host path, or the host's port, that the socket was bound to: give the
 * container's. */
long
call_getsockname(struct call *c)
{
    union {
        struct sockaddr_un un;
        char bytes[sizeof(struct sockaddr_un) + 1]; /* a path of 108 bytes is told with its end */
    } name = {.bytes = {0}};
    int room, len = sizeof(name), err = user_copy(&room, c->a[2], sizeof(room));
    long r;

    if (err)
        return err;
    r = sys3(c->row->nr, c->a[0], &name, &len);
    if (r == 0 && (name.un.sun_family == AF_INET || name.un.sun_family == AF_INET6)) {
        r = call_raw(c);
        if (r == 0)
            port_inward(c->a[1], room, c->row->nr == SYS_getpeername);
        return r;
    }
    if (r < 0 || name.un.sun_family != AF_UNIX || len > (int)sizeof(name))
        return call_raw(c);
    len = (int)sockname_show(&name.un, (unsigned)len);
    return sockname_put(c->a[1], room, c->a[2], &name, (unsigned)len);
}
