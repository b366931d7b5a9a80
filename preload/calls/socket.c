/* Unix sockets have paths too. The address is replaced by one that names the host path; where that
 * is longer than the 107 bytes of sun_path, the directory is opened and the socket named through
 * /proc/self/fd. */
#include "ownership.h"
#include "permission.h"
#include "port.h"
#include "root.h"
#include "sockname.h"

#include <sys/socket.h>
#include <sys/un.h>

#define PATH_OFFSET  offsetof(struct sockaddr_un, sun_path)
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
    memcpy(a->un.sun_path, "/proc/self/fd/", 14);
    len = 14 + str_decimal(a->un.sun_path + 14, (uint64_t)fd);
    err = str_append(a->un.sun_path, sizeof(a->un.sun_path), &len, "/", 1);
    if (!err)
        err = str_append(a->un.sun_path, sizeof(a->un.sun_path), &len, hit->host + slash,
                         strlen(hit->host + slash));
    a->len = (unsigned)(PATH_OFFSET + len + 1);
    if (err)
        sys1(SYS_close, fd);
    return err;
}

/* The host's form of a container address. */
static int
translate(struct address *a, bool create)
{
    char path[sizeof(a->un.sun_path) + 1], base[LPMX_PATH_MAX];
    struct uufs_hit hit;
    int err = 0;

    memcpy(path, a->un.sun_path, sizeof(a->un.sun_path));
    path[sizeof(path) - 1] = '\0';
    base[0] = '\0';
    if (path[0] != '/')
        err = call_base(AT_FDCWD, base, sizeof(base));
    if (!err)
        err = uufs_walk(&engine.fs, base, path,
                        (create ? UUFS_MISSING : UUFS_FOLLOW) | permission_how(), &hit);
    if (err == -ENAMETOOLONG && path[0] != '/')
        err = call_walk_deep(AT_FDCWD, path, create ? UUFS_MISSING : UUFS_FOLLOW, &hit);
    /* the kernel tells receivers the sender's host path: an answer to it must find its way back */
    if (err == -ENOENT && !create && !uufs_from_host(&engine.fs, path, base, sizeof(base)))
        err = uufs_walk(&engine.fs, "/", base, UUFS_FOLLOW, &hit);
    if (err)
        return err;
    if (create && hit.where != UUFS_ABSENT)
        return -EADDRINUSE;
    if (create && hit.read_only)
        return -EROFS;
    err = create ? permission_to_make(&hit) : permission_check(&hit, PERMISSION_WRITE);
    if (err)
        return err;
    if (create && hit.in_union)
        err = uufs_prepare_create(&engine.fs, &hit);
    if (err)
        return err;
    a->dir = -1;
    if (hit.host_len >= sizeof(a->un.sun_path))
        return name_through_directory(a, &hit);
    memcpy(a->un.sun_path, hit.host, hit.host_len + 1);
    a->len = (unsigned)(PATH_OFFSET + hit.host_len + 1);
    return 0;
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

/* @nr with its address argument (pointer at index @at, length after it) replaced where it is a
 * path. */
static long
with_address(struct call *c, unsigned at, bool create)
{
    struct address a;
    struct sockaddr_un given;
    char path[sizeof(a.un.sun_path) + 1];
    struct inet_address inet;
    long r = is_path_address(c->a[0], c->a[at], (unsigned)c->a[at + 1], &a.un);

    if (r < 0)
        return r;
    if (r == 0 && port_outward(c->a[at], (unsigned)c->a[at + 1], create, &inet)) {
        c->a[at] = (unsigned long)&inet;
        return call_blocking(c, c->row->nr, c->a[0], c->a[1], c->a[2], c->a[3], c->a[4], c->a[5]);
    }
    if (r == 0)
        return call_blocking(c, c->row->nr, c->a[0], c->a[1], c->a[2], c->a[3], c->a[4], c->a[5]);
    memcpy(path, a.un.sun_path, sizeof(a.un.sun_path));
    path[sizeof(path) - 1] = '\0';
    given = a.un;
    r = translate(&a, create);
    if (r)
        return r;
    c->a[at] = (unsigned long)&a.un;
    c->a[at + 1] = a.len;
    r = call_blocking(c, c->row->nr, c->a[0], c->a[1], c->a[2], c->a[3], c->a[4], c->a[5]);
    release(&a);
    if (!r && create)
        sockname_note(&a.un, &given, PATH_OFFSET + (unsigned)strlen(path) + 1);
    if (!r && create && emulates_root())
        r = own_socket(path);
    return r;
}

long
call_connect(struct call *c)
{
    return with_address(c, 1, false);
}

long
call_bind(struct call *c)
{
    return with_address(c, 1, true);
}

long
call_sendto(struct call *c)
{
    return with_address(c, 4, false);
}

/* A message whose destination is a path: @copy gets the message with the address replaced. 1 when
 * it was. */
static int
translate_message(unsigned long fd, unsigned long user, struct msghdr *copy, struct address *a)
{
    int r = user_copy(copy, user, sizeof(*copy));

    if (r)
        return r;
    r = is_path_address(fd, (unsigned long)copy->msg_name, copy->msg_namelen, &a->un);
    if (r <= 0)
        return r;
    r = translate(a, false);
    if (r)
        return r;
    copy->msg_name = &a->un;
    copy->msg_namelen = a->len;
    return 1;
}

long
call_sendmsg(struct call *c)
{
    struct msghdr copy;
    struct address a;
    long r;
    int translated = translate_message(c->a[0], c->a[1], &copy, &a);

    if (translated < 0)
        return translated;
    r = call_blocking(c, SYS_sendmsg, c->a[0], translated ? (unsigned long)&copy : c->a[1], c->a[2],
                      0, 0, 0);
    if (translated)
        release(&a);
    return r;
}

/* Several messages: as one call where none is addressed by a path, else one by one. */
long
call_sendmmsg(struct call *c)
{
    struct mmsghdr *user = (struct mmsghdr *)c->a[1];
    unsigned long n = c->a[2] > MAX_MESSAGES ? MAX_MESSAGES : c->a[2], sent = 0;
    struct msghdr copy;
    struct address a;

    for (; sent < n; sent++) {
        int r = user_readable(&user[sent], sizeof(*user));

        if (!r)
            r = translate_message(c->a[0], (unsigned long)&user[sent].msg_hdr, &copy, &a);
        if (r == 0 && sent == 0) {
            /* the usual case: the first is no path, take it that none is until one turns up */
            unsigned long plain = 1;

            while (plain < n && !user_readable(&user[plain], sizeof(*user)) &&
                   !user[plain].msg_hdr.msg_name)
                plain++;
            if (plain == n)
                return call_blocking(c, SYS_sendmmsg, c->a[0], c->a[1], n, c->a[3], 0, 0);
        }
        if (r < 0)
            return sent ? (long)sent : r;
        long one = call_blocking(c, SYS_sendmsg, c->a[0],
                                 r ? (unsigned long)&copy : (unsigned long)&user[sent].msg_hdr,
                                 c->a[3], 0, 0, 0);

        if (r)
            release(&a);
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
    struct sockaddr_un un;
    char host[sizeof(un.sun_path) + 1], ctr[LPMX_PATH_MAX];
    const char *shown;
    bool outside;
    unsigned given_len;
    int room, len = sizeof(un), err = user_copy(&room, c->a[2], sizeof(room));
    long r;

    if (err)
        return err;
    r = sys3(c->row->nr, c->a[0], &un, &len);
    if (r == 0 && (un.sun_family == AF_INET || un.sun_family == AF_INET6)) {
        r = call_raw(c);
        if (r == 0)
            port_inward(c->a[1], room, c->row->nr == SYS_getpeername);
        return r;
    }
    if (r < 0 || un.sun_family != AF_UNIX || len <= (int)PATH_OFFSET || !un.sun_path[0] ||
        len > (int)sizeof(un))
        return call_raw(c);
    memset(host, 0, sizeof(host));
    memcpy(host, un.sun_path, (size_t)len - PATH_OFFSET);
    memset((char *)&un + len, 0, sizeof(un) - (size_t)len);
    given_len = sockname_given(&un);
    if (!given_len && uufs_from_host(&engine.fs, host, ctr, sizeof(ctr)))
        return call_raw(c);
    shown = given_len ? NULL : root_show(ctr, &outside);
    if (shown && strlen(shown) >= sizeof(un.sun_path))
        return call_raw(c);
    if (shown)
        memcpy(un.sun_path, shown, strlen(shown) + 1);
    if (given_len > sizeof(un))
        given_len = sizeof(un);
    len = (int)(given_len ? given_len : PATH_OFFSET + strlen(shown) + 1);
    if (room < 0)
        return -EINVAL;
    if (room > len)
        room = len;
    err = user_readable((void *)c->a[1], (size_t)room);
    if (err)
        return err;
    memcpy((void *)c->a[1], &un, (size_t)room);
    *(int *)c->a[2] = len;
    return 0;
}
