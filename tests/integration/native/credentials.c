/* Who is at the other end of a unix socket, for a root and for those that it becomes: SO_PEERCRED
 * and SO_PEERGROUPS as they were at connect, listen and socketpair, SCM_CREDENTIALS as they are
 * sent and as the kernel adds them. */
#define _GNU_SOURCE
#include "common.h"

#include <grp.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/wait.h>

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

static void
become(int uid, int gid)
{
    gid_t groups[] = {(gid_t)gid, 7, 8};

    must(!setgroups(3, groups) && !setresgid(gid, gid, gid) && !setresuid(uid, uid, uid), "become");
}

static void
peer(const char *what, int s)
{
    struct ucred u = {0};
    gid_t groups[32];
    socklen_t len = sizeof(u);

    must(!getsockopt(s, SOL_SOCKET, SO_PEERCRED, &u, &len), "SO_PEERCRED");
    printf("%s: %d %d, %d bytes, %s;", what, u.uid, u.gid, len,
           u.pid == getpid() ? "myself" : "another");
    len = sizeof(groups);
    if (getsockopt(s, SOL_SOCKET, SO_PEERGROUPS, groups, &len))
        printf(" %s", strerror(errno));
    else if (u.uid) /* a root's are the machine's */
        for (unsigned i = 0; i < len / sizeof(*groups); i++)
            printf(" %d", groups[i]);
    len = 6;
    memset(&u, 0, sizeof(u));
    getsockopt(s, SOL_SOCKET, SO_PEERCRED, &u, &len);
    printf("; cut to %d\n", len);
}

static struct sockaddr_un address = {.sun_family = AF_UNIX};
static socklen_t address_len;

/* At a path, or at an abstract name. */
static int
listener(const char *name, int abstract)
{
    int s = socket(AF_UNIX, SOCK_STREAM, 0);

    memset(address.sun_path, 0, sizeof(address.sun_path));
    address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name) + 1);
    memcpy(address.sun_path + abstract, name, strlen(name));
    must(!bind(s, (struct sockaddr *)&address, address_len), "bind");
    must(abstract || !chmod(name, 0777), "chmod");
    must(!listen(s, 9), "listen");
    return s;
}

static int
caller(void)
{
    int s = socket(AF_UNIX, SOCK_STREAM, 0);

    must(!connect(s, (struct sockaddr *)&address, address_len), "connect");
    return s;
}

/* Wait for the child, which has said all it has to say. */
static void
join(void)
{
    int status;

    must(wait(&status) > 0, "wait");
    if (status)
        printf("child: %d\n", status);
}

static int
child(void)
{
    fflush(stdout);
    return !fork();
}

static void
leave(void)
{
    fflush(stdout);
    _exit(0);
}

static void
calls(int listening)
{
    int s;

    if (child()) {
        peer("who listens", caller());
        leave();
    }
    s = accept(listening, NULL, NULL);
    join();
    peer("a root that has ended", s);
    close(s);
    if (child()) {
        become(33, 44);
        s = caller();
        leave();
    }
    s = accept(listening, NULL, NULL);
    peer("who was one", s);
    join();
    close(s);
    if (child()) {
        s = caller();
        become(33, 44);
        must(write(s, "x", 1) == 1, "write");
        leave();
    }
    s = accept(listening, NULL, NULL);
    must(read(s, &(char){0}, 1) == 1, "read");
    peer("who was one when it called", s);
    join();
    close(s);
}

static void
listens(void)
{
    int s = listener("lpmx-credentials", 1), t;

    if (child()) {
        become(55, 66);
        t = caller();
        peer("a root that listened", t);
        leave();
    }
    must(!setegid(66) && !seteuid(55), "seteuid");
    close(accept(s, NULL, NULL));
    join();
    must(!seteuid(0) && !setegid(0), "seteuid");
    close(s);
}

static void
pairs(void)
{
    int p[2];

    must(!socketpair(AF_UNIX, SOCK_STREAM, 0, p), "socketpair");
    if (child()) {
        become(33, 44);
        peer("a pair's other end", p[0]);
        must(!socketpair(AF_UNIX, SOCK_DGRAM, 0, p), "socketpair");
        peer("a pair of one's own", p[0]);
        leave();
    }
    join();
    peer("a pair's one end", p[1]);
    close(p[0]);
    close(p[1]);
}

static void
send_ids(const char *what, int s, int uid, int gid, int pid)
{
    char control[CMSG_SPACE(sizeof(struct ucred))] = {0}, byte = 'x';
    struct iovec v = {&byte, 1};
    struct msghdr m = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    struct ucred u = {.pid = pid, .uid = (uid_t)uid, .gid = (gid_t)gid};

    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_CREDENTIALS;
    h->cmsg_len = CMSG_LEN(sizeof(u));
    memcpy(CMSG_DATA(h), &u, sizeof(u));
    printf("send %s: %s\n", what, sendmsg(s, &m, 0) < 0 ? strerror(errno) : "ok");
}

static void
take_ids(const char *what, int s)
{
    char control[256], byte = 0;
    struct iovec v = {&byte, 1};
    struct msghdr m = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    struct ucred u = {0};
    long n = recvmsg(s, &m, MSG_DONTWAIT);

    printf("%s: %s, flags %x,", what, n < 0 ? strerror(errno) : "ok", m.msg_flags);
    for (struct cmsghdr *h = n < 0 ? NULL : CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
        memcpy(&u, CMSG_DATA(h), sizeof(u));
        printf(" type %d, %zu bytes: %d %d, %s", h->cmsg_type, h->cmsg_len, u.uid, u.gid,
               u.pid == getpid() ? "myself" : "another");
    }
    puts("");
}

static void
messages(int type)
{
    int p[2], on = 1;

    must(!socketpair(AF_UNIX, type, 0, p), "socketpair");
    send_ids("before it is asked for", p[0], 0, 0, getpid());
    take_ids("not asked for", p[1]);
    must(!setsockopt(p[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), "SO_PASSCRED");
    send_ids("own", p[0], 0, 0, getpid());
    take_ids("own", p[1]);
    send_ids("another's", p[0], 1234, 4321, getpid());
    take_ids("another's", p[1]);
    if (child()) {
        become(33, 44);
        send_ids("own", p[0], 33, 44, getpid());
        send_ids("a root's", p[0], 0, 44, getpid());
        send_ids("of a root's group", p[0], 33, 0, getpid());
        send_ids("the parent's", p[0], 33, 44, getppid());
        leave();
    }
    join();
    take_ids("who was a root", p[1]);
    take_ids("no more", p[1]);
    if (child()) {
        become(33, 44);
        must(write(p[0], "x", 1) == 1, "write");
        leave();
    }
    join();
    take_ids("added by the kernel", p[1]);
    close(p[0]);
    close(p[1]);
}

int
main(void)
{
    int s;

    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    for (int abstract = 0; abstract < 2; abstract++) {
        s = listener("caught", abstract);
        calls(s);
        close(s);
    }
    listens();
    pairs();
    messages(SOCK_STREAM);
    messages(SOCK_DGRAM);
    return 0;
}
