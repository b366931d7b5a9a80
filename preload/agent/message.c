/* What agent and proxy share: the socket's address, messages with descriptors, and a look at one's
 * own descriptors. */
#include "message.h"

#include "../base/libc.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

COLD_FILE;

int
message_address(const char *name, void *address, size_t *size)
{
    struct sockaddr_un *a = address;
    size_t n = strlen(name);

    if (!n || n + 1 > sizeof(a->sun_path))
        return -ENAMETOOLONG;
    memset(a, 0, sizeof(*a));
    a->sun_family = AF_UNIX;
    memcpy(a->sun_path + 1, name, n);
    *size = offsetof(struct sockaddr_un, sun_path) + 1 + n;
    return 0;
}

bool
message_peer_is_own(int fd)
{
    struct ucred peer = {0};
    uint32_t size = sizeof(peer);

    return !sys5(SYS_getsockopt, fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) &&
           size == sizeof(peer) && peer.uid == (uint32_t)sys0(SYS_geteuid);
}

union control {
    char bytes[CMSG_SPACE(AGENT_FDS * sizeof(int))];
    struct cmsghdr align;
};

long
message_send(int fd, int kind, int value, const int *fds, size_t n)
{
    struct agent_message m = {kind, value};
    struct iovec part = {&m, sizeof(m)};
    struct msghdr h = {.msg_iov = &part, .msg_iovlen = 1};
    union control control;
    long r;

    if (n > AGENT_FDS)
        return -EINVAL;
    if (n) {
        h.msg_control = control.bytes;
        h.msg_controllen = CMSG_SPACE(n * sizeof(int));
        memset(control.bytes, 0, h.msg_controllen);
        control.align.cmsg_level = SOL_SOCKET;
        control.align.cmsg_type = SCM_RIGHTS;
        control.align.cmsg_len = CMSG_LEN(n * sizeof(int));
        memcpy(CMSG_DATA(&control.align), fds, n * sizeof(int));
    }
    do
        r = sys3(SYS_sendmsg, fd, &h, MSG_NOSIGNAL);
    while (r == -EINTR);
    return r < 0 ? r : 0;
}

long
message_receive(int fd, struct agent_message *m, int *fds, size_t *n)
{
    struct iovec part = {m, sizeof(*m)};
    union control control;
    struct msghdr h = {.msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof(control)};
    long r;

    *n = 0;
    do
        r = sys3(SYS_recvmsg, fd, &h, MSG_CMSG_CLOEXEC);
    while (r == -EINTR);
    if (r <= 0)
        return r == -ECONNRESET ? 0 : r;
    if (h.msg_controllen >= CMSG_LEN(sizeof(int)) && control.align.cmsg_level == SOL_SOCKET &&
        control.align.cmsg_type == SCM_RIGHTS) {
        *n = (control.align.cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(fds, CMSG_DATA(&control.align), *n * sizeof(int));
    }
    return r == sizeof(*m) && !(h.msg_flags & MSG_CTRUNC) ? 1 : -EBADMSG;
}

struct entry { /* struct linux_dirent64 */
    uint64_t ino;
    int64_t off;
    uint16_t reclen;
    uint8_t type;
    char name[];
};

static long
take_entries(const char *buf, long size, long self, int *out, size_t cap, size_t *n)
{
    for (long at = 0; at < size;) {
        const struct entry *e = (const void *)(buf + at);
        const char *p = e->name;
        long fd = 0;

        at += e->reclen;
        if (*p < '0' || *p > '9')
            continue;
        while (*p)
            fd = fd * 10 + *p++ - '0';
        if (fd == self)
            continue;
        if (*n == cap)
            return -EMFILE;
        out[(*n)++] = (int)fd;
    }
    return 0;
}

long
message_descriptors(int *out, size_t cap)
{
    char buf[4096] __attribute__((aligned(8)));
    size_t n = 0;
    long r,
        dir = sys4(SYS_openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

    if (dir < 0)
        return dir;
    while ((r = sys3(SYS_getdents64, dir, buf, sizeof(buf))) > 0) {
        r = take_entries(buf, r, dir, out, cap, &n);
        if (r)
            break;
    }
    sys1(SYS_close, dir);
    return r < 0 ? r : (long)n;
}

void *
message_memory(size_t size)
{
    long r = sys6(SYS_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return sys_failed(r) ? NULL : (void *)r;
}
