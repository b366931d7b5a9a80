/* Descriptors of files of /proc: what is asked of them and what they refuse, whether the kernel has
 * made them or somebody else. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *
answer(long r)
{
    return r < 0 ? strerrorname_np(errno) : "ok";
}

/* The link of descriptor @fd, with "PID" for each number. */
static void
say_link(int fd)
{
    char path[40], link[300];
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    n = readlink(path, link, sizeof(link) - 1);
    link[n < 0 ? 0 : n] = '\0';
    printf(" link ");
    for (char *p = link; *p; p++) {
        if (*p < '0' || *p > '9') {
            putchar(*p);
            continue;
        }
        printf("PID");
        while (p[1] >= '0' && p[1] <= '9')
            p++;
    }
}

static void
say_metadata(const char *name, int fd)
{
    char path[40];
    struct stat named, opened, linked;
    struct statx sx;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (stat(name, &named) || fstat(fd, &opened) || stat(path, &linked) ||
        statx(fd, "", AT_EMPTY_PATH, STATX_ALL, &sx)) {
        printf(" stat %s", strerrorname_np(errno));
        return;
    }
    printf(" mode %o %o %o size %ld %ld same file %d %d %d", opened.st_mode, linked.st_mode,
           sx.stx_mode, (long)opened.st_size, (long)sx.stx_size,
           named.st_dev == opened.st_dev && named.st_ino == opened.st_ino,
           linked.st_ino == opened.st_ino, sx.stx_ino == opened.st_ino);
}

static void
say_use(int fd)
{
    struct pollfd ready = {fd, POLLIN | POLLPRI, 0}, changes = {fd, POLLPRI, 0};
    char first[8];
    int pipes[2];

    printf(" write %s", answer(write(fd, "x", 1)));
    printf(" ftruncate %s", answer(ftruncate(fd, 0)));
    printf(" map %d", mmap(NULL, 1, PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED);
    poll(&ready, 1, 0);
    poll(&changes, 1, 0);
    printf(" poll %x %x", ready.revents, changes.revents);
    printf(" read %d", read(fd, first, sizeof(first)) > 0);
    printf(" again %d", lseek(fd, 0, SEEK_SET) == 0 && read(fd, first, sizeof(first)) > 0);
    if (!pipe(pipes)) {
        printf(" splice %s", answer(splice(pipes[0], NULL, fd, NULL, 16, SPLICE_F_NONBLOCK)));
        close(pipes[0]);
        close(pipes[1]);
    }
}

static void
try(const char *name)
{
    int lowest = dup(0), fd;
    char path[40];

    close(lowest);
    fd = open(name, O_RDONLY | O_CLOEXEC);
    printf("%s: %s", name, answer(fd));
    if (fd < 0)
        exit(1);
    printf(" lowest %d access %d cloexec %d", fd == lowest, fcntl(fd, F_GETFL) & O_ACCMODE,
           fcntl(fd, F_GETFD));
    say_link(fd);
    say_metadata(name, fd);
    say_use(fd);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    printf(" anew %s", answer(open(path, O_RDWR)));
    printf(" created %s", answer(open(name, O_RDONLY | O_CREAT | O_EXCL, 0600)));
    printf(" written %s", answer(open(name, O_WRONLY)));
    printf(" directory %s\n", answer(open(name, O_RDONLY | O_DIRECTORY)));
    close(fd);
}

int
main(void)
{
    static const char *const names[] = {
        "/proc/self/maps",    "/proc/self/smaps",     "/proc/self/mounts",      "/proc/mounts",
        "/proc/self/status",  "/proc/self/mountinfo", "/proc/thread-self/maps", "/proc/self/stat",
        "/proc/self/cmdline", "/proc/version",
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        try(names[i]);
    return 0;
}
