/* What calls say of flags, masks, times and addresses that are wrong, and of which mistake they
 * speak first, for names that are there or not. One line a case, which must be the same with and
 * without an engine. Works in the working directory, which is empty. */
#define _GNU_SOURCE
#include "common.h"

#include <fcntl.h>
#include <linux/stat.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <time.h>

#define BAD ((void *)8)
#define TRY(what, number, ...)                                                                     \
    do {                                                                                           \
        long r_ = syscall(number, __VA_ARGS__);                                                    \
        printf("%s %s: %s\n", what, name, r_ >= 0 ? "done" : strerrorname_np(errno));              \
    } while (0)

static void
look(const char *name)
{
    char buffer[4096];

    for (int bit = 0; bit < 24; bit++) {
        char what[40];

        snprintf(what, sizeof(what), "stat flag %d", bit);
        TRY(what, SYS_newfstatat, AT_FDCWD, name, buffer, 1 << bit);
        snprintf(what, sizeof(what), "statx flag %d", bit);
        TRY(what, SYS_statx, AT_FDCWD, name, 1 << bit, STATX_BASIC_STATS, buffer);
        snprintf(what, sizeof(what), "faccessat2 flag %d", bit);
        TRY(what, SYS_faccessat2, AT_FDCWD, name, R_OK, 1 << bit);
        snprintf(what, sizeof(what), "access mode %d", bit);
        TRY(what, SYS_access, name, 1 << bit);
    }
    TRY("statx, both ways", SYS_statx, AT_FDCWD, name, 0x6000, STATX_BASIC_STATS, buffer);
    TRY("statx, reserved", SYS_statx, AT_FDCWD, name, 0, STATX__RESERVED, buffer);
    TRY("getxattr, no name", SYS_getxattr, name, "", buffer, 10);
    TRY("getxattr, bad name", SYS_getxattr, name, BAD, buffer, 10);
    TRY("readlink, no room", SYS_readlink, name, buffer, 0);
}

static void
change(const char *name)
{
    struct timespec bad[2] = {{0, 2000000000}, {0, 0}},
                    omit[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
    long usec[4] = {0, 2000000, 0, 0};
    char value[8] = "value";

    TRY("fchmodat2", 452, AT_FDCWD, name, 0644, 1 << 20);
    TRY("fchownat", SYS_fchownat, AT_FDCWD, name, -1, -1, 1 << 20);
    TRY("utimensat, flags", SYS_utimensat, AT_FDCWD, name, NULL, 1 << 20);
    TRY("utimensat, time", SYS_utimensat, AT_FDCWD, name, bad, 0);
    TRY("utimensat, nothing", SYS_utimensat, AT_FDCWD, name, omit, 0);
    TRY("utimensat, pointer", SYS_utimensat, AT_FDCWD, name, BAD, 0);
    TRY("utimes, time", SYS_utimes, name, usec);
    TRY("setxattr, flags", SYS_setxattr, name, "user.a", value, 5, 4);
    TRY("setxattr, no name", SYS_setxattr, name, "", value, 5, 0);
    TRY("setxattr, too big", SYS_setxattr, name, "user.a", value, 70000, 0);
    TRY("removexattr, bad name", SYS_removexattr, name, BAD);
    TRY("truncate", SYS_truncate, name, -1L);
    TRY("unlinkat", SYS_unlinkat, AT_FDCWD, name, 1 << 20);
    TRY("linkat", SYS_linkat, AT_FDCWD, name, AT_FDCWD, "new", 1 << 20);
    TRY("renameat2", SYS_renameat2, AT_FDCWD, name, AT_FDCWD, "new", 1 << 20);
    TRY("mknodat", SYS_mknodat, AT_FDCWD, name, 0170000 | 0600, 0);
}

static void
watch(const char *name)
{
    int fd = inotify_init1(0);

    TRY("inotify, no mask", SYS_inotify_add_watch, fd, name, 0);
    TRY("inotify, reserved", SYS_inotify_add_watch, fd, name, 1 << 16);
    TRY("inotify, not together", SYS_inotify_add_watch, fd, name,
        IN_MASK_ADD | 1 << 28 | IN_MODIFY);
    TRY("inotify, no watcher", SYS_inotify_add_watch, 0, name, IN_MODIFY);
    TRY("inotify, closed", SYS_inotify_add_watch, 99, name, IN_MODIFY);
    TRY("name_to_handle_at", SYS_name_to_handle_at, AT_FDCWD, name, BAD, BAD, 1 << 20);
    close(fd);
}

/* The address of a unix socket for sockets of other kinds. */
static void
address(const char *name)
{
    static const int kinds[][2] = {{AF_INET, SOCK_STREAM},
                                   {AF_INET, SOCK_DGRAM},
                                   {AF_INET6, SOCK_DGRAM},
                                   {AF_NETLINK, SOCK_DGRAM}};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct iovec data = {"x", 1};
    struct msghdr message = {
        .msg_name = &un, .msg_namelen = sizeof(un), .msg_iov = &data, .msg_iovlen = 1};

    memcpy(un.sun_path, name, strlen(name));
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        int s = socket(kinds[i][0], kinds[i][1], 0);
        char what[40];

        if (s < 0)
            continue;
        snprintf(what, sizeof(what), "connect %zu", i);
        TRY(what, SYS_connect, s, &un, sizeof(un));
        snprintf(what, sizeof(what), "sendto %zu", i);
        TRY(what, SYS_sendto, s, "x", 1, MSG_NOSIGNAL, &un, sizeof(un));
        snprintf(what, sizeof(what), "sendmsg %zu", i);
        TRY(what, SYS_sendmsg, s, &message, MSG_NOSIGNAL);
        snprintf(what, sizeof(what), "bind %zu", i);
        TRY(what, SYS_bind, s, &un, sizeof(un));
        close(s);
    }
    TRY("bind a file", SYS_bind, 0, &un, sizeof(un));
    TRY("connect what is closed", SYS_connect, 99, &un, sizeof(un));
}

int
main(void)
{
    static const char *const names[] = {"file",   "folder",    "link",  "nowhere",
                                        "loop",   "missing",   "file/", "folder/",
                                        "file/x", "missing/x", "link/", "folder/."};

    close(open("file", O_CREAT | O_WRONLY, 0644));
    must(!mkdir("folder", 0755) && !symlink("file", "link") && !symlink("missing", "nowhere") &&
             !symlink("loop", "loop") && !dup2(open("file", O_RDONLY), 0),
         "make");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        look(names[i]);
        change(names[i]);
        watch(names[i]);
        address(names[i]);
    }
    return 0;
}
