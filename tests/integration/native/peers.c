/* What the peers of unix sockets are called by everything that tells an address: of datagrams,
 * streams and packets, bound and not, to this process and to another. */
#define _GNU_SOURCE
#include "common.h"

#include <stddef.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define ROOM 128

static struct sockaddr_un address;
static socklen_t address_len;

static void
name(const char *path)
{
    memset(&address, 0, sizeof(address));
    address.sun_family = AF_UNIX;
    strncpy(address.sun_path, path, sizeof(address.sun_path));
    address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1);
    if (address_len > sizeof(address))
        address_len = sizeof(address);
}

static int
socket_at(int type, const char *path)
{
    int s = socket(AF_UNIX, type, 0);

    must(s >= 0, "socket");
    if (!path[0])
        return s;
    name(path);
    printf("bind %s: %s\n", path,
           bind(s, (struct sockaddr *)&address, address_len) ? strerror(errno) : "ok");
    return s;
}

static void
tell(const char *how, long result, const void *got, unsigned len)
{
    const struct sockaddr_un *un = got;

    printf("%s %s", how, result < 0 ? strerror(errno) : "");
    if (result >= 0 && len > 2)
        printf("%u %.*s", len, (int)sizeof(un->sun_path), un->sun_path);
    puts("");
}

static void
take_message(int s)
{
    struct sockaddr_storage got;
    char byte;
    struct iovec v = {&byte, 1};
    struct msghdr m = {
        .msg_name = &got, .msg_namelen = sizeof(got), .msg_iov = &v, .msg_iovlen = 1};
    struct mmsghdr mm = {.msg_hdr = m};
    socklen_t len = sizeof(got);
    long r = recvfrom(s, &byte, 1, 0, (struct sockaddr *)&got, &len);

    tell("recvfrom", r, &got, len);
    r = recvmsg(s, &m, 0);
    tell("recvmsg", r, &got, m.msg_namelen);
    r = recvmmsg(s, &mm, 1, 0, NULL);
    tell("recvmmsg", r, &got, mm.msg_hdr.msg_namelen);
    r = recvfrom(s, &byte, 1, MSG_DONTWAIT, (struct sockaddr *)&got, &len);
    tell("recvfrom, empty", r, &got, len);
    len = 6;
    memset(&got, '-', sizeof(got));
    must(!getsockname(s, (struct sockaddr *)&got, &len), "getsockname");
    printf("getsockname, cut: %u %.8s\n", len, (char *)&got + 2);
}

static void
datagrams(const char *from, const char *to)
{
    int a = socket_at(SOCK_DGRAM, from), b = socket_at(SOCK_DGRAM, to);

    name(to);
    for (int i = 0; i < 3; i++)
        must(sendto(a, "x", 1, 0, (struct sockaddr *)&address, address_len) == 1, "sendto");
    take_message(b);
    close(a);
    close(b);
    unlink(to);
    if (from[0])
        unlink(from);
}

static void
take_call(int s)
{
    struct sockaddr_storage got;
    socklen_t len = sizeof(got);
    int r = accept4(s, (struct sockaddr *)&got, &len, SOCK_CLOEXEC);

    tell("accept", r, &got, len);
    len = sizeof(got);
    must(!getpeername(r, (struct sockaddr *)&got, &len), "getpeername");
    tell("getpeername", 0, &got, len);
    len = sizeof(got);
    must(!getsockname(r, (struct sockaddr *)&got, &len), "getsockname");
    tell("getsockname", 0, &got, len);
    close(r);
}

static void
calls(int type, const char *from, const char *to)
{
    int a = socket_at(type, from), b = socket_at(type, to);

    must(!listen(b, 5), "listen");
    name(to);
    must(!connect(a, (struct sockaddr *)&address, address_len), "connect");
    take_call(b);
    close(a);
    close(b);
    unlink(to);
    if (from[0])
        unlink(from);
}

static void
in_child(void (*run)(int), int arg)
{
    int status;

    fflush(stdout);
    if (!fork()) {
        run(arg);
        fflush(stdout);
        _exit(0);
    }
    wait(&status);
}

/* Who takes the message, or the call, has not bound the socket itself. */
static void
told_to_a_child(const char *from)
{
    int a = socket_at(SOCK_DGRAM, from), b = socket_at(SOCK_DGRAM, "inbox");

    name("inbox");
    for (int i = 0; i < 3; i++)
        must(sendto(a, "x", 1, 0, (struct sockaddr *)&address, address_len) == 1, "sendto");
    in_child(take_message, b);
    close(a);
    close(b);
    unlink(from);
    unlink("inbox");
}

int
main(void)
{
    static const char *const names[] = {
        "",
        "plain",
        "./dot",
        "in/below",
        ".//in//./slashes",
        "a-name-of-ninety-bytes-and-more-which-as-a-path-of-the-host"
        "-is-longer-than-there-is-room-for-in-one"};

    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    must(!mkdir("in", 0755), "mkdir");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        datagrams(names[i], "server");
        datagrams(names[i], "in/server");
        calls(SOCK_STREAM, names[i], "server");
        calls(SOCK_SEQPACKET, names[i], "./in/server");
        if (i)
            told_to_a_child(names[i]);
    }
    printf("taken: %s\n", binds("in") ? strerror(errno) : "ok");
    printf("no folder: %s\n", binds("none/x") ? strerror(errno) : "ok");
    return 0;
}
