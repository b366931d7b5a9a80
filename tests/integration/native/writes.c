/* Every way to change what is in a directory, by every way to name it: absolute, relative to the
 * working directory, by a descriptor of the directory, through /proc/self/fd, and from below by
 * "..".
 *
 * usage: writes names        prints what the directory has to hold, a name a line; "NAME/" a
 * directory writes DIRECTORY    prints "CALL WAY ANSWER" for each, ANSWER "ok" or the error's text
 *
 * Each change has a name of its own, so that none depends on another. */
#define _GNU_SOURCE
#include "common.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/xattr.h>

enum way { ABSOLUTE, RELATIVE, DESCRIPTOR, PROC_FD, FROM_BELOW, N_WAYS };
static const char *const ways[] = {"absolute", "relative", "descriptor", "proc-fd", "from-below"};

/* Where a change is made: the directory's descriptor, AT_FDCWD for those that go by path. */
struct at {
    int fd;
    const char *name;  /* of what is there */
    const char *fresh; /* a name that is not */
};

static int
written(int fd)
{
    return fd < 0 ? -1 : write(fd, "changed", 7) == 7 && !close(fd) ? 0 : -1;
}

static int
do_write(const struct at *a)
{
    return written(openat(a->fd, a->name, O_WRONLY));
}

static int
do_append(const struct at *a)
{
    return written(openat(a->fd, a->name, O_RDWR | O_APPEND));
}

static int
do_truncate_open(const struct at *a)
{
    return written(openat(a->fd, a->name, O_WRONLY | O_TRUNC | O_CREAT, 0600));
}

static int
do_create(const struct at *a)
{
    return written(openat(a->fd, a->fresh, O_WRONLY | O_CREAT | O_EXCL, 0600));
}

static int
do_openat2(const struct at *a)
{
    struct {
        uint64_t flags, mode, resolve;
    } how = {O_RDWR, 0, 0};

    return written((int)syscall(437, a->fd, a->name, &how, sizeof(how)));
}

static int
do_tmpfile(const struct at *a)
{
    char link[64], parent[4096];
    int fd;

    snprintf(parent, sizeof(parent), "%s/..", a->name);
    fd = openat(a->fd, parent, O_TMPFILE | O_RDWR, 0600);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    return fd < 0 ? -1 : linkat(AT_FDCWD, link, a->fd, a->fresh, AT_SYMLINK_FOLLOW);
}

static int
do_reopen(const struct at *a)
{
    char link[64];
    int fd = openat(a->fd, a->name, O_RDONLY);

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    return fd < 0 ? -1 : written(open(link, O_RDWR));
}

static int
do_chmod(const struct at *a)
{
    return fchmodat(a->fd, a->name, 0600, 0);
}

static int
do_fchmod(const struct at *a)
{
    int fd = openat(a->fd, a->name, O_RDONLY);

    return fd < 0 ? -1 : fchmod(fd, 0600);
}

static int
do_chown(const struct at *a)
{
    return fchownat(a->fd, a->name, getuid(), getgid(), AT_SYMLINK_NOFOLLOW);
}

static int
do_fchown(const struct at *a)
{
    int fd = openat(a->fd, a->name, O_RDONLY);

    return fd < 0 ? -1 : fchown(fd, getuid(), getgid());
}

static int
do_utimens(const struct at *a)
{
    return utimensat(a->fd, a->name, NULL, 0);
}

static int
do_futimens(const struct at *a)
{
    int fd = openat(a->fd, a->name, O_RDONLY);

    return fd < 0 ? -1 : futimens(fd, NULL);
}

static int
do_fsetxattr(const struct at *a)
{
    int fd = openat(a->fd, a->name, O_RDONLY);

    return fd < 0 ? -1 : fsetxattr(fd, "user.changed", "1", 1, 0);
}

static int
do_setflags(const struct at *a)
{
    int fd = openat(a->fd, a->name, O_RDONLY), flags = 0;

    if (fd < 0 || ioctl(fd, FS_IOC_GETFLAGS, &flags))
        return -1;
    flags |= FS_NODUMP_FL;
    return ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

static int
do_mkdir(const struct at *a)
{
    return mkdirat(a->fd, a->fresh, 0700);
}

static int
do_mknod(const struct at *a)
{
    return mknodat(a->fd, a->fresh, S_IFIFO | 0600, 0);
}

static int
do_symlink(const struct at *a)
{
    return symlinkat("target", a->fd, a->fresh);
}

static int
do_link(const struct at *a)
{
    return linkat(a->fd, a->name, a->fd, a->fresh, 0) ? -1
                                                      : written(openat(a->fd, a->fresh, O_RDWR));
}

static int
do_unlink(const struct at *a)
{
    return unlinkat(a->fd, a->name, 0);
}

static int
do_rmdir(const struct at *a)
{
    return unlinkat(a->fd, a->name, AT_REMOVEDIR);
}

static int
do_rename(const struct at *a)
{
    return renameat(a->fd, a->name, a->fd, a->fresh);
}

static int
do_rename_directory(const struct at *a)
{
    int r = renameat(a->fd, a->name, a->fd, a->fresh);

    return r && errno == EXDEV ? 0 : r; /* the union's way to say no; mv copies then */
}

static int
do_truncate(const struct at *a)
{
    return a->fd == AT_FDCWD ? truncate(a->name, 1) : do_write(a);
}

static int
do_setxattr(const struct at *a)
{
    return a->fd == AT_FDCWD ? lsetxattr(a->name, "user.changed", "1", 1, 0) : do_fsetxattr(a);
}

static int
do_utimes(const struct at *a)
{
    return a->fd == AT_FDCWD ? utimes(a->name, NULL) : do_utimens(a);
}

static int
do_bind(const struct at *a)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int s = socket(AF_UNIX, SOCK_STREAM, 0);

    if (a->fd != AT_FDCWD)
        must(!fchdir(a->fd), "fchdir");
    if (strlen(a->fresh) >= sizeof(address.sun_path))
        return 0;
    memcpy(address.sun_path, a->fresh, strlen(a->fresh));
    return bind(s, (struct sockaddr *)&address, sizeof(address));
}

static const struct change {
    const char *name;
    int (*make)(const struct at *);
    int directory; /* to an empty directory */
} changes[] = {
    {"write", do_write, 0},
    {"append", do_append, 0},
    {"open-truncate", do_truncate_open, 0},
    {"create", do_create, 0},
    {"openat2", do_openat2, 0},
    {"tmpfile", do_tmpfile, 1},
    {"reopen", do_reopen, 0},
    {"truncate", do_truncate, 0},
    {"chmod", do_chmod, 0},
    {"chmod-directory", do_chmod, 1},
    {"fchmod", do_fchmod, 0},
    {"chown", do_chown, 0},
    {"fchown", do_fchown, 0},
    {"utimens", do_utimens, 0},
    {"futimens", do_futimens, 0},
    {"utimes", do_utimes, 0},
    {"setxattr", do_setxattr, 0},
    {"fsetxattr", do_fsetxattr, 0},
    {"setflags", do_setflags, 0},
    {"mkdir", do_mkdir, 0},
    {"mknod", do_mknod, 0},
    {"symlink", do_symlink, 0},
    {"link", do_link, 0},
    {"unlink", do_unlink, 0},
    {"rmdir", do_rmdir, 1},
    {"rename", do_rename, 0},
    {"rename-directory", do_rename_directory, 1},
    {"bind", do_bind, 0},
};

#define N_CHANGES (sizeof(changes) / sizeof(changes[0]))

/* Name @leaf of @directory as @way does it; descriptors and working directory are this process's.
 */
static int
place(enum way way, const char *directory, const char *leaf, char *name)
{
    int fd;

    switch (way) {
    case ABSOLUTE:
        snprintf(name, 4096, "%s/%s", directory, leaf);
        return AT_FDCWD;
    case RELATIVE:
        must(!chdir(directory), directory);
        snprintf(name, 4096, "%s", leaf);
        return AT_FDCWD;
    case DESCRIPTOR:
        fd = open(directory, O_RDONLY | O_DIRECTORY);
        must(fd >= 0, directory);
        snprintf(name, 4096, "%s", leaf);
        return fd;
    case PROC_FD:
        fd = open(directory, O_PATH | O_DIRECTORY);
        must(fd >= 0, directory);
        snprintf(name, 4096, "/proc/self/fd/%d/%s", fd, leaf);
        return AT_FDCWD;
    default:
        snprintf(name, 4096, "%s/below", directory);
        must(!chdir(name), name);
        snprintf(name, 4096, "../%s", leaf);
        return AT_FDCWD;
    }
}

static void
change(size_t i, enum way way, const char *directory)
{
    char leaf[128], name[4096], fresh[4096];
    struct at at = {.name = name, .fresh = fresh};

    snprintf(leaf, sizeof(leaf), "new-%s-%s", changes[i].name, ways[way]);
    place(way, directory, leaf, fresh);
    at.fd = place(way, directory, leaf + 4, name);
    if (way == PROC_FD) /* one descriptor serves both */
        snprintf(fresh, sizeof(fresh), "%.*s/new-%s", (int)(strrchr(name, '/') - name), name,
                 leaf + 4);
    errno = 0;
    printf("%s %s %s\n", changes[i].name, ways[way], changes[i].make(&at) ? strerror(errno) : "ok");
    fflush(stdout);
}

int
main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    if (!strcmp(argv[1], "names"))
        puts("below/");
    for (size_t i = 0; i < N_CHANGES; i++)
        for (enum way way = 0; way < N_WAYS; way++) {
            if (!strcmp(argv[1], "names")) {
                printf("%s-%s%s\n", changes[i].name, ways[way], changes[i].directory ? "/" : "");
                continue;
            }
            if (!fork()) {
                change(i, way, argv[1]);
                _exit(0);
            }
            wait(NULL);
        }
    return 0;
}
