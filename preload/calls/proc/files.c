/* Files of /proc that contain host paths: maps, smaps, mounts, mountinfo. Opening one for reading
 * gives a snapshot in memory with the container's paths, which can be read alone. Other processes'
 * files are treated alike: only our own are of interest there. */
#include "files.h"

#include "../../base/libc.h"
#include "../../base/str.h"
#include "../../engine/engine.h"
#include "../../uufs/proclink.h"
#include "contents.h"
#include "exe.h"

#include <sys/mman.h>
#include <sys/stat.h>

COLD_FILE;

/* ---- which file ---- */

static enum contents
kind_of(const struct uufs_hit *hit)
{
    const char *rel, *name;

    if (hit->bind < 0 || !(engine.fs.binds[hit->bind].flags & UUFS_BIND_PROC))
        return CONTENTS_NONE;
    rel = hit->ctr + engine.fs.binds[hit->bind].dst_len;
    for (name = rel + strlen(rel); name > rel && name[-1] != '/'; name--)
        ;
    if (!strcmp(rel, "/mounts"))
        return CONTENTS_MOUNTS;
    if (strncmp(rel, "/self/", 6) && strncmp(rel, "/thread-self/", 13) &&
        !(rel[0] == '/' && rel[1] >= '0' && rel[1] <= '9'))
        return CONTENTS_NONE;
    if (!strcmp(name, "maps") || !strcmp(name, "smaps"))
        return CONTENTS_MAPS;
    if (!strcmp(name, "mounts"))
        return CONTENTS_MOUNTS;
    if (!strcmp(name, "status") && proc_is_own(hit->host))
        return CONTENTS_STATUS;
    return strcmp(name, "mountinfo") ? CONTENTS_NONE : CONTENTS_MOUNTINFO;
}

/* Is it the calling thread's, not another one's of the process? */
static bool
is_of_thread(const struct uufs_hit *hit)
{
    const char *rel = hit->ctr + engine.fs.binds[hit->bind].dst_len;

    if (!strncmp(rel, "/thread-self/", 13))
        return true;
    for (const char *p = rel; *p; p++)
        if (!strncmp(p, "/task/", 6))
            return false;
    return sys0(SYS_gettid) == sys0(SYS_getpid);
}

bool
procfile_is(const struct uufs_hit *hit)
{
    return kind_of(hit) != CONTENTS_NONE;
}

/* ---- the descriptor ---- */

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U
#endif
#define ALL_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
/* The memory is named after the file, so that what asks about the descriptor can be answered. */
#define NAME_PREFIX "lpmx:"
#define LINK_PREFIX "/memfd:" NAME_PREFIX "/proc/"
#define LINK_SUFFIX " (deleted)"

/* "lpmx:/proc/PID/...", as the kernel would name the file. */
static void
name_memory(const struct uufs_hit *hit, char *name, size_t cap)
{
    const char *rel = hit->ctr + engine.fs.binds[hit->bind].dst_len;
    char pid[24], tid[24];
    size_t len = 0, pid_len = str_decimal(pid, (uint64_t)sys0(SYS_getpid));

    str_append(name, cap, &len, NAME_PREFIX "/proc/", sizeof(NAME_PREFIX) + 5);
    if (!strcmp(rel, "/mounts") || !strncmp(rel, "/self/", 6)) {
        rel += rel[1] == 's' ? 5 : 0;
        str_append(name, cap, &len, pid, pid_len);
    } else if (!strncmp(rel, "/thread-self/", 13)) {
        rel += 12;
        str_append(name, cap, &len, pid, pid_len);
        str_append(name, cap, &len, "/task/", 6);
        str_append(name, cap, &len, tid, str_decimal(tid, (uint64_t)sys0(SYS_gettid)));
    } else {
        rel++;
    }
    str_append(name, cap, &len, rel, strlen(rel));
}

bool
procfile_named(const char *link, char *path, size_t cap)
{
    long n = sys4(SYS_readlinkat, AT_FDCWD, link, path, cap - 1);
    const size_t head = sizeof(LINK_PREFIX) - 1, tail = sizeof(LINK_SUFFIX) - 1;

    if (n < (long)(head + tail) || strncmp(path, LINK_PREFIX, head))
        return false;
    n -= (long)tail;
    path[n] = '\0';
    memmove(path, path + head - 6, (size_t)n - head + 7);
    return true;
}

bool
procfile_behind(int fd, char *path, size_t cap)
{
    char link[PROC_LINK_SIZE];

    proc_link_fd(fd, link);
    return procfile_named(link, path, cap);
}

/* Nothing can be written to what @fd holds, and the descriptor becomes one that only reads. */
static void
close_to_writing(int fd, bool cloexec)
{
    char link[PROC_LINK_SIZE];
    long reader;

    sys2(SYS_fchmod, fd, PROCFILE_MODE & 07777);
    sys3(SYS_fcntl, fd, F_ADD_SEALS, ALL_SEALS);
    proc_link_fd(fd, link);
    reader = sys4(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC, 0);
    if (reader < 0) { /* no /proc, or no descriptor left: the seals must do */
        sys3(SYS_lseek, fd, 0, SEEK_SET);
        return;
    }
    sys3(SYS_dup3, reader, fd, cloexec ? O_CLOEXEC : 0);
    sys1(SYS_close, reader);
}

static long
new_memory(const char *name, bool cloexec)
{
    unsigned flags = MFD_ALLOW_SEALING | (cloexec ? MFD_CLOEXEC : 0);
    long fd = sys2(SYS_memfd_create, name, flags | MFD_NOEXEC_SEAL);

    return fd == -EINVAL ? sys2(SYS_memfd_create, name, flags) : fd; /* before Linux 6.3 */
}

long
procfile_open(const struct call *c, const struct uufs_hit *hit, unsigned long flags)
{
    enum contents kind = kind_of(hit);
    char name[200] = "";
    int fd;
    long r;

    name_memory(hit, name, sizeof(name));
    fd = (int)new_memory(name, flags & O_CLOEXEC);
    if (fd < 0)
        return fd;
    r = contents_write(kind, hit->host, is_of_thread(hit) ? c->mask : NULL, fd);
    if (r < 0) {
        sys1(SYS_close, fd);
        return r;
    }
    close_to_writing(fd, flags & O_CLOEXEC);
    return fd;
}
