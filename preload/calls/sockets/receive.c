/* Whose message is it, and who has called? accept(2), recvfrom(2) and their kin tell the address of
 * the peer, which for a unix socket is the host's path where it was bound by an absolute one.
 * They are trapped in a process that has bound a unix socket: see latefilter.c. */
#include "../../base/libc.h"
#include "../fakeroot/cred.h"
#include "../program/perform.h"
#include "../program/usermem.h"
#include "peers.h"
#include "sockname.h"

#include <sys/socket.h>

#define MAX_MESSAGES 1024 /* the kernel's: it takes no more */

struct name { /* room for the address of any family */
    union {
        struct sockaddr_un un;
        char bytes[128];
    };
    int len;
};

static void
show(struct name *name)
{
    memset(name->bytes + (name->len < (int)sizeof(name->bytes) ? name->len : 0), 0,
           name->len < (int)sizeof(name->bytes) ? sizeof(name->bytes) - (size_t)name->len : 0);
    name->len = (int)sockname_show(&name->un, (unsigned)name->len);
}

/* A call that writes an address to argument @at, and its length behind the argument after it:
 * carried out with room of ours for it. */
static long
with_name(struct call *c, unsigned at, struct name *name)
{
    unsigned long a[6];

    memcpy(a, c->a, sizeof(a));
    name->len = sizeof(name->bytes);
    a[at] = (unsigned long)name->bytes;
    a[at + 1] = (unsigned long)&name->len;
    return call_blocking(c, c->row->nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

long
call_accept(struct call *c)
{
    struct name name;
    int room, err = user_copy(&room, c->a[2], sizeof(room));
    long r;

    if (!c->a[1] || err || room < 0)
        return call_blocking(c, c->row->nr, c->a[0], c->a[1], c->a[2], c->a[3], 0, 0);
    r = with_name(c, 1, &name);
    if (r < 0)
        return r;
    show(&name);
    err = sockname_put(c->a[1], room, c->a[2], name.bytes, (unsigned)name.len);
    if (err)
        sys1(SYS_close, r);
    return err ? err : r;
}

long
call_recvfrom(struct call *c)
{
    struct name name;
    int room, err = user_copy(&room, c->a[5], sizeof(room));
    long r;

    if (err || room < 0)
        return call_blocking(c, c->row->nr, c->a[0], c->a[1], c->a[2], c->a[3], c->a[4], c->a[5]);
    r = with_name(c, 4, &name);
    if (r < 0)
        return r;
    show(&name);
    err = sockname_put(c->a[4], room, c->a[5], name.bytes, (unsigned)name.len);
    return err ? err : r;
}

long
call_recvmsg(struct call *c)
{
    struct msghdr m;
    struct name name;
    unsigned long to;
    int room, err = user_copy(&m, c->a[1], sizeof(m));
    long r;

    if (err || !m.msg_name || (int)m.msg_namelen < 0) {
        r = call_blocking(c, SYS_recvmsg, c->a[0], c->a[1], c->a[2], 0, 0, 0);
        if (r >= 0 && emulates_root())
            peers_receive((const struct msghdr *)c->a[1]);
        return r;
    }
    to = (unsigned long)m.msg_name;
    room = (int)m.msg_namelen;
    m.msg_name = name.bytes;
    m.msg_namelen = sizeof(name.bytes);
    r = call_blocking(c, SYS_recvmsg, c->a[0], (unsigned long)&m, c->a[2], 0, 0, 0);
    if (r < 0)
        return r;
    if (emulates_root())
        peers_receive(&m);
    name.len = (int)m.msg_namelen;
    show(&name);
    m.msg_name = (void *)to;
    err = sockname_put(to, room, c->a[1] + offsetof(struct msghdr, msg_namelen), name.bytes,
                       (unsigned)name.len);
    m.msg_namelen = (unsigned)name.len;
    if (!err)
        err = user_put(c->a[1], &m, sizeof(m));
    return err ? err : r;
}

/* What the kernel has written into the program's own memory, as far as there was room. */
static void
show_in_place(struct msghdr *m, unsigned room)
{
    struct name name;

    name.len = (int)m->msg_namelen;
    if (name.len <= 0 || (unsigned)name.len > room || room > sizeof(name.bytes) ||
        user_copy(name.bytes, (unsigned long)m->msg_name, (unsigned)name.len))
        return;
    show(&name);
    sockname_put((unsigned long)m->msg_name, (int)room, (unsigned long)&m->msg_namelen, name.bytes,
                 (unsigned)name.len);
}

/* Several at once. How much room each had is gone afterwards. */
long
call_recvmmsg(struct call *c)
{
    struct mmsghdr *user = (struct mmsghdr *)c->a[1];
    unsigned room[MAX_MESSAGES], n = c->a[2] < MAX_MESSAGES ? (unsigned)c->a[2] : MAX_MESSAGES;
    long r;

    if (user_readable(user, n * sizeof(*user)))
        n = 0;
    for (unsigned i = 0; i < n; i++)
        room[i] = user[i].msg_hdr.msg_name ? user[i].msg_hdr.msg_namelen : 0;
    r = call_blocking(c, SYS_recvmmsg, c->a[0], c->a[1], c->a[2], c->a[3], c->a[4], 0);
    for (unsigned i = 0; r > 0 && i < (unsigned)r && i < n; i++) {
        if (emulates_root())
            peers_receive(&user[i].msg_hdr);
        if (room[i])
            show_in_place(&user[i].msg_hdr, room[i]);
    }
    return r;
}
