/* The operations on files, each a row of the table at the end. */
#include "ops.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

static char data[1 << 20];
static char slot_path[MAX_SLOTS][4096]; /* what the slot was opened as */

/* ---- slots ---- */

static void
slot_remember(int fd)
{
    char link[40];
    ssize_t n;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, slot_path[fd - FIRST_SLOT], sizeof(slot_path[0]) - 1);
    slot_path[fd - FIRST_SLOT][n < 0 ? 0 : n] = '\0';
}

void
slot_paths_reload(void)
{
    for (int i = 0; i < MAX_SLOTS; i++)
        if (fcntl(FIRST_SLOT + i, F_GETFD) >= 0)
            slot_remember(FIRST_SLOT + i);
}

/* Move @fd to its slot. */
static void
slot_take(struct reply *r, int slot, int fd, int flags)
{
    if (fd < 0) {
        reply_result(r, -1);
        return;
    }
    syscall(SYS_dup3, fd, slot, flags & O_CLOEXEC);
    close(fd);
    slot_remember(slot);
    reply_add(r, "0");
}

/* A slot open for reading only, whose name means another file by now: the answer says so, because a
 * union may show the file as it was. */
static void
mark_stale(struct reply *r, int slot)
{
    struct stat mine, named;
    int flags = fcntl(slot, F_GETFL);

    if (flags < 0 || (flags & O_ACCMODE) != O_RDONLY || fstat(slot, &mine))
        return;
    if (lstat(slot_path[slot - FIRST_SLOT], &named) || named.st_ino != mine.st_ino ||
        named.st_dev != mine.st_dev)
        reply_add(r, " ~");
}

static void
fill(long n, long seed)
{
    for (long i = 0; i < n; i++)
        data[i] = (char)(seed * 31 + i * 7 + 1);
}

static size_t
arg_size(const struct line *l, unsigned i)
{
    return (size_t)arg_number(l, i) % sizeof(data);
}

/* ---- open and descriptors ---- */

static void
op_open(const struct line *l, struct reply *r) /* SLOT DIRSLOT PATH FLAGS MODE */
{
    int flags = (int)arg_number(l, 4) | O_NONBLOCK | O_NOCTTY;

    slot_take(r, arg_slot(l, 1),
              (int)DO(openat, arg_slot(l, 2), arg_path(l, 3), flags, arg_number(l, 5)), flags);
}

static void
op_openat2(const struct line *l, struct reply *r) /* SLOT DIRSLOT PATH FLAGS MODE RESOLVE */
{
    struct open_how how = {.flags = (unsigned)arg_number(l, 4) | O_NONBLOCK | O_NOCTTY,
                           .mode = (unsigned)arg_number(l, 5),
                           .resolve = (unsigned)arg_number(l, 6)};

    slot_take(r, arg_slot(l, 1),
              (int)syscall(SYS_openat2, arg_slot(l, 2), arg_path(l, 3), &how, sizeof(how)),
              (int)how.flags);
}

static void
op_close(const struct line *l, struct reply *r)
{
    reply_result(r, close(arg_slot(l, 1)));
}

static void
op_dup(const struct line *l, struct reply *r)
{
    int to = arg_slot(l, 2);

    if (reply_result(r, dup2(arg_slot(l, 1), to) < 0 ? -1 : 0))
        slot_remember(to);
}

static void
reply_read(struct reply *r, ssize_t n)
{
    if (reply_result(r, n))
        reply_hash(r, data, (size_t)n);
}

static void
op_read(const struct line *l, struct reply *r)
{
    reply_read(r, read(arg_slot(l, 1), data, arg_size(l, 2)));
    mark_stale(r, arg_slot(l, 1));
}

static void
op_pread(const struct line *l, struct reply *r) /* SLOT SIZE OFFSET */
{
    reply_read(r, pread(arg_slot(l, 1), data, arg_size(l, 2), arg_number(l, 3)));
    mark_stale(r, arg_slot(l, 1));
}

static void
op_write(const struct line *l, struct reply *r) /* SLOT SIZE SEED */
{
    size_t n = arg_size(l, 2);

    fill((long)n, arg_number(l, 3));
    reply_result(r, write(arg_slot(l, 1), data, n));
}

static void
op_pwrite(const struct line *l, struct reply *r) /* SLOT SIZE OFFSET SEED */
{
    size_t n = arg_size(l, 2);

    fill((long)n, arg_number(l, 4));
    reply_result(r, pwrite(arg_slot(l, 1), data, n, arg_number(l, 3)));
}

/* Positions in a directory mean what its file system likes: "scan" tries them. */
static void
op_lseek(const struct line *l, struct reply *r)
{
    struct stat st;

    if (!fstat(arg_slot(l, 1), &st) && S_ISDIR(st.st_mode)) {
        reply_add(r, "directory");
        return;
    }
    reply_result(r, lseek(arg_slot(l, 1), arg_number(l, 2), (int)arg_number(l, 3)));
    mark_stale(r, arg_slot(l, 1));
}

static void
op_fstat(const struct line *l, struct reply *r)
{
    reply_stat(r, arg_slot(l, 1), "", AT_EMPTY_PATH);
    mark_stale(r, arg_slot(l, 1));
}

static void
op_ftruncate(const struct line *l, struct reply *r)
{
    reply_result(r, ftruncate(arg_slot(l, 1), arg_number(l, 2)));
}

static void
op_fallocate(const struct line *l, struct reply *r) /* SLOT MODE OFFSET SIZE */
{
    reply_result(
        r, fallocate(arg_slot(l, 1), (int)arg_number(l, 2), arg_number(l, 3), arg_number(l, 4)));
}

/* A page of the slot, shared: SEED written at OFFSET through it, and what it then holds. */
static void
op_mmap(const struct line *l, struct reply *r)
{
    int fd = arg_slot(l, 1);
    long offset = arg_number(l, 2) % 4096, seed = arg_number(l, 3);
    struct stat st;
    char *map;

    if (!reply_result(r, fstat(fd, &st)))
        return;
    map = mmap(NULL, 4096, PROT_READ | (seed ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        reply_add(r, " E%d", errno);
    } else if (st.st_size <= offset) {
        reply_add(r, " beyond");
        munmap(map, 4096);
    } else {
        if (seed)
            map[offset] = (char)seed;
        reply_hash(r, map, (size_t)(st.st_size < 4096 ? st.st_size : 4096));
        munmap(map, 4096);
    }
    mark_stale(r, fd);
}

static void
op_flock(const struct line *l, struct reply *r)
{
    reply_result(r, flock(arg_slot(l, 1), (int)arg_number(l, 2) | LOCK_NB));
}

static void
op_lock(const struct line *l, struct reply *r) /* SLOT COMMAND TYPE START SIZE */
{
    static const int commands[] = {F_SETLK, F_OFD_SETLK, F_GETLK};
    struct flock lock = {.l_type = (short)arg_number(l, 3),
                         .l_whence = SEEK_SET,
                         .l_start = arg_number(l, 4),
                         .l_len = arg_number(l, 5)};
    int command = commands[arg_number(l, 2) % 3];

    if (reply_result(r, fcntl(arg_slot(l, 1), command, &lock)) && command == F_GETLK)
        reply_add(r, " %d %ld %ld", lock.l_type, (long)lock.l_start, (long)lock.l_len);
}

static void
op_tmpfile(const struct line *l, struct reply *r) /* SLOT DIRSLOT PATH FLAGS MODE */
{
    slot_take(r, arg_slot(l, 1),
              (int)DO(openat, arg_slot(l, 2), arg_path(l, 3), O_TMPFILE | (int)arg_number(l, 4),
                      arg_number(l, 5)),
              0);
}

/* ---- names ---- */

static void
op_linkfd(const struct line *l, struct reply *r) /* SLOT HOW DIRSLOT PATH */
{
    char link[40];
    int fd = arg_slot(l, 1);

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    if (arg_number(l, 2))
        reply_result(r, linkat(fd, "", arg_slot(l, 3), arg_path(l, 4), AT_EMPTY_PATH));
    else
        reply_result(r, linkat(AT_FDCWD, link, arg_slot(l, 3), arg_path(l, 4), AT_SYMLINK_FOLLOW));
    if (fcntl(fd, F_GETFD) >= 0)
        mark_stale(r, fd);
}

static void
op_mkdir(const struct line *l, struct reply *r)
{
    reply_result(r, mkdirat(arg_slot(l, 1), arg_path(l, 2), (mode_t)arg_number(l, 3)));
}

static void
op_mknod(const struct line *l, struct reply *r) /* DIRSLOT PATH MODE DEVICE */
{
    reply_result(r,
                 DO(mknodat, arg_slot(l, 1), arg_path(l, 2), arg_number(l, 3), arg_number(l, 4)));
}

static void
op_unlink(const struct line *l, struct reply *r)
{
    reply_result(r, DO(unlinkat, arg_slot(l, 1), arg_path(l, 2), arg_number(l, 3)));
}

static void
op_symlink(const struct line *l, struct reply *r) /* TARGET DIRSLOT PATH */
{
    reply_result(r, symlinkat(arg_path(l, 1), arg_slot(l, 2), arg_path(l, 3)));
}

static void
op_link(const struct line *l, struct reply *r) /* DIRSLOT PATH DIRSLOT PATH FLAGS */
{
    reply_result(r, linkat(arg_slot(l, 1), arg_path(l, 2), arg_slot(l, 3), arg_path(l, 4),
                           (int)arg_number(l, 5)));
}

static void
op_rename(const struct line *l, struct reply *r) /* DIRSLOT PATH DIRSLOT PATH FLAGS */
{
    reply_result(r, DO(renameat2, arg_slot(l, 1), arg_path(l, 2), arg_slot(l, 3), arg_path(l, 4),
                       arg_number(l, 5)));
}

static void
op_readlink(const struct line *l, struct reply *r) /* DIRSLOT PATH SIZE */
{
    char target[8192] = "";
    const char *shown;
    long size = arg_number(l, 3) % (long)sizeof(target),
         n = readlinkat(arg_slot(l, 1), arg_path(l, 2), target,
                        plain_root[0] && size ? sizeof(target) - 1 : (size_t)size);

    if (n < 0) {
        reply_result(r, n);
        return;
    }
    target[n] = '\0';
    shown = shown_path(target);
    n = (long)strlen(shown) < size ? (long)strlen(shown) : size;
    reply_add(r, "%ld ", n);
    reply_escaped(r, shown, (size_t)n);
}

/* ---- metadata by path ---- */

static void
op_stat(const struct line *l, struct reply *r) /* DIRSLOT PATH FLAGS */
{
    reply_stat(r, arg_slot(l, 1), arg_path(l, 2), (int)arg_number(l, 3));
}

static void
op_statx(const struct line *l, struct reply *r) /* DIRSLOT PATH FLAGS */
{
    struct statx sx;

    if (!reply_result(
            r, DO(statx, arg_slot(l, 1), arg_path(l, 2), arg_number(l, 3), STATX_BASIC_STATS, &sx)))
        return;
    reply_add(r, " %06o %u:%u", sx.stx_mode, sx.stx_uid, sx.stx_gid);
    if (S_ISREG(sx.stx_mode))
        reply_add(r, " n%u s%llu", sx.stx_nlink, (unsigned long long)sx.stx_size);
}

static void
op_access(const struct line *l, struct reply *r) /* DIRSLOT PATH MODE FLAGS */
{
    reply_result(r, FACCESSAT(arg_slot(l, 1), arg_path(l, 2), arg_number(l, 3), arg_number(l, 4)));
}

static void
op_cat(const struct line *l, struct reply *r) /* DIRSLOT PATH FLAGS */
{
    int fd = openat(arg_slot(l, 1), arg_path(l, 2), O_RDONLY | O_NONBLOCK | (int)arg_number(l, 3));

    if (fd < 0) {
        reply_result(r, -1);
        return;
    }
    reply_read(r, read(fd, data, sizeof(data)));
    close(fd);
}

/* Write a whole file and close it. */
static void
op_put(const struct line *l, struct reply *r) /* DIRSLOT PATH FLAGS MODE SIZE SEED */
{
    size_t n = arg_size(l, 5);
    int fd = openat(arg_slot(l, 1), arg_path(l, 2), O_NONBLOCK | (int)arg_number(l, 3),
                    arg_number(l, 4));

    if (fd < 0) {
        reply_result(r, -1);
        return;
    }
    fill((long)n, arg_number(l, 6));
    reply_result(r, write(fd, data, n));
    close(fd);
}

static void
op_truncate(const struct line *l, struct reply *r)
{
    reply_result(r, truncate(arg_path(l, 1), arg_number(l, 2)));
}

static void
op_chmod(const struct line *l, struct reply *r) /* DIRSLOT PATH MODE */
{
    reply_result(r, FCHMODAT(arg_slot(l, 1), arg_path(l, 2), arg_number(l, 3)));
}

static void
op_chown(const struct line *l, struct reply *r) /* DIRSLOT PATH UID GID FLAGS */
{
    reply_result(r, fchownat(arg_slot(l, 1), arg_path(l, 2), (uid_t)arg_number(l, 3),
                             (gid_t)arg_number(l, 4), (int)arg_number(l, 5)));
}

static void
op_utimens(const struct line *l, struct reply *r) /* DIRSLOT PATH SECONDS NANOSECONDS FLAGS */
{
    struct timespec times[2] = {{arg_number(l, 3), arg_number(l, 4)},
                                {arg_number(l, 3), arg_number(l, 4)}};

    reply_result(r, utimensat(arg_slot(l, 1), arg_path(l, 2), times, (int)arg_number(l, 5)));
}

static void
op_setxattr(const struct line *l, struct reply *r) /* PATH NAME VALUE FLAGS NOFOLLOW */
{
    const char *path = arg_path(l, 1), *name = l->word[2], *value = l->word[3];

    reply_result(r, arg_number(l, 5)
                        ? lsetxattr(path, name, value, strlen(value), (int)arg_number(l, 4))
                        : setxattr(path, name, value, strlen(value), (int)arg_number(l, 4)));
}

static void
op_getxattr(const struct line *l, struct reply *r) /* PATH NAME SIZE */
{
    char value[1024];
    long n = getxattr(arg_path(l, 1), l->word[2], value, (size_t)arg_number(l, 3) % sizeof(value));

    if (reply_result(r, n) && arg_number(l, 3)) {
        reply_add(r, " ");
        reply_escaped(r, value, (size_t)n);
    }
}

static void
op_removexattr(const struct line *l, struct reply *r) /* PATH NAME */
{
    reply_result(r, removexattr(arg_path(l, 1), l->word[2]));
}

/* Metadata changed through a descriptor that was opened for reading. */
static void
op_fchange(const struct line *l, struct reply *r) /* DIRSLOT PATH WHAT VALUE */
{
    const struct timespec times[2] = {{arg_number(l, 4), 5}, {arg_number(l, 4), 5}};
    int fd = openat(arg_slot(l, 1), arg_path(l, 2), O_RDONLY | O_NONBLOCK);

    if (fd < 0) {
        reply_result(r, -1);
        return;
    }
    switch (arg_number(l, 3)) {
    case 0:
        reply_result(r, fchmod(fd, (mode_t)arg_number(l, 4) & 0777));
        break;
    case 1:
        reply_result(r, futimens(fd, times));
        break;
    case 2:
        reply_result(r, fsetxattr(fd, "user.fd", l->word[4], strlen(l->word[4]), 0));
        break;
    default:
        reply_result(r, fremovexattr(fd, "user.a"));
    }
    reply_add(r, " ");
    reply_stat(r, fd, "", AT_EMPTY_PATH);
    close(fd);
}

/* ---- the process ---- */

static void
op_chdir(const struct line *l, struct reply *r)
{
    reply_result(r, chdir(arg_path(l, 1)));
}

static void
op_chroot(const struct line *l, struct reply *r)
{
    reply_result(r, chroot(arg_path(l, 1)));
}

static void
op_fchdir(const struct line *l, struct reply *r)
{
    reply_result(r, fchdir(arg_slot(l, 1)));
}

static void
op_getcwd(const struct line *l, struct reply *r)
{
    char path[8192];
    long n = syscall(SYS_getcwd, path, sizeof(path));

    (void)l;
    if (n < 0) {
        reply_result(r, n);
        return;
    }
    if (!strncmp(path, "(unreachable)", 13)) /* the rest depends on where the tree is */
        path[13] = '\0';
    reply_add(r, "0 ");
    reply_escaped(r, shown_path(path), strlen(shown_path(path)));
}

static void
op_umask(const struct line *l, struct reply *r)
{
    reply_add(r, "%o", umask((mode_t)arg_number(l, 1)));
}

/* Leave no descriptor free but those below a number: those that are open stay so. HARD: for good.
 */
static void
op_nofile(const struct line *l, struct reply *r) /* NUMBER HARD */
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = (rlim_t)arg_number(l, 1);
    if (arg_number(l, 2))
        limit.rlim_max = limit.rlim_cur;
    reply_result(r, setrlimit(RLIMIT_NOFILE, &limit));
}

/* ---- inotify ---- */

static void
op_watch(const struct line *l, struct reply *r) /* SLOT PATH MASK */
{
    int slot = arg_slot(l, 1);

    if (fcntl(slot, F_GETFD) < 0) {
        int fd = inotify_init1(IN_NONBLOCK);

        dup2(fd, slot);
        close(fd);
    }
    reply_result(r,
                 inotify_add_watch(slot, arg_path(l, 2), (uint32_t)arg_number(l, 3)) < 0 ? -1 : 0);
}

/* A watch shows how the engine marks what it hides, and what it calls names like its marks
 * (docs/limits.md). */
static bool
is_of_the_union(const struct inotify_event *e)
{
    return e->mask == (IN_MODIFY | IN_ISDIR) || (e->len && !strncmp(e->name, ".wh", 3));
}

static void
op_events(const struct line *l, struct reply *r)
{
    static char buf[MAX_TEXT] __attribute__((aligned(8)));
    ssize_t n = read(arg_slot(l, 1), buf, sizeof(buf));

    if (n < 0) {
        reply_result(r, n);
        return;
    }
    reply_add(r, "0");
    for (ssize_t at = 0; at < n;) {
        const struct inotify_event *e = (const struct inotify_event *)(buf + at);

        if (!is_of_the_union(e))
            reply_add(r, " %x:", e->mask);
        if (!is_of_the_union(e) && e->len &&
            e->name[0] != '#') /* else the kernel's name for a file without one */
            reply_escaped(r, e->name, strlen(e->name));
        at += (ssize_t)(sizeof(*e) + e->len);
    }
}

/* ---- the table ---- */

static const struct {
    const char *name;
    void (*run)(const struct line *l, struct reply *r);
    unsigned words;
} operations[] = {
    {"open", op_open, 6},
    {"openat2", op_openat2, 7},
    {"close", op_close, 2},
    {"dup", op_dup, 3},
    {"read", op_read, 3},
    {"pread", op_pread, 4},
    {"write", op_write, 4},
    {"pwrite", op_pwrite, 5},
    {"lseek", op_lseek, 4},
    {"fstat", op_fstat, 2},
    {"ftruncate", op_ftruncate, 3},
    {"fallocate", op_fallocate, 5},
    {"mmap", op_mmap, 4},
    {"flock", op_flock, 3},
    {"lock", op_lock, 6},
    {"tmpfile", op_tmpfile, 6},
    {"linkfd", op_linkfd, 5},
    {"mkdir", op_mkdir, 4},
    {"mknod", op_mknod, 5},
    {"unlink", op_unlink, 4},
    {"symlink", op_symlink, 4},
    {"link", op_link, 6},
    {"rename", op_rename, 6},
    {"readlink", op_readlink, 4},
    {"stat", op_stat, 4},
    {"statx", op_statx, 4},
    {"access", op_access, 5},
    {"cat", op_cat, 4},
    {"put", op_put, 7},
    {"truncate", op_truncate, 3},
    {"chmod", op_chmod, 4},
    {"chown", op_chown, 6},
    {"utimens", op_utimens, 6},
    {"setxattr", op_setxattr, 6},
    {"getxattr", op_getxattr, 4},
    {"removexattr", op_removexattr, 3},
    {"fchange", op_fchange, 5},
    {"chdir", op_chdir, 2},
    {"fchdir", op_fchdir, 2},
    {"chroot", op_chroot, 2},
    {"getcwd", op_getcwd, 1},
    {"umask", op_umask, 2},
    {"watch", op_watch, 4},
    {"events", op_events, 2},
    {"scan", op_scan, 3},
    {"list", op_list, 4},
    {"dump", op_dump, 2},
    {"nofile", op_nofile, 3},
};

bool
op_run(const struct line *l, struct reply *r)
{
    for (size_t i = 0; i < sizeof(operations) / sizeof(*operations); i++) {
        if (strcmp(operations[i].name, l->word[0]) != 0)
            continue;
        if (l->n != operations[i].words)
            return false;
        operations[i].run(l, r);
        return true;
    }
    return false;
}
