/* Files of /proc that tell host paths: maps, smaps, mounts, mountinfo. Opening one for reading
 * gives a snapshot in memory with the container's paths, which can be read alone. Other processes'
 * files are treated alike: only our own are of interest there. */
#include "files.h"

#include "../../base/libc.h"
#include "../../base/str.h"
#include "../../uufs/proclink.h"
#include "../../uufs/walk/fromhost.h"
#include "../fakeroot/cred.h"
#include "../program/root.h"
#include "exe.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

COLD_FILE;

struct text { /* a small buffer in front of a memfd */
    int fd;
    const uint64_t *mask; /* the calling thread's, where the file is of that one, else NULL */
    size_t len;
    char buf[2048];
};

static void
flush(struct text *t)
{
    if (t->len)
        sys3(SYS_write, t->fd, t->buf, t->len);
    t->len = 0;
}

static void
put(struct text *t, const char *s, size_t n)
{
    while (n) {
        size_t room = sizeof(t->buf) - t->len, part = n < room ? n : room;

        memcpy(t->buf + t->len, s, part);
        t->len += part;
        s += part;
        n -= part;
        if (t->len == sizeof(t->buf))
            flush(t);
    }
}

static void
put_string(struct text *t, const char *s)
{
    put(t, s, strlen(s));
}

static void
put_number(struct text *t, uint64_t value)
{
    char digits[24];

    put(t, digits, str_decimal(digits, value));
}

/* ---- maps ---- */

/* "address perms offset dev inode          /host/path": the path, or NULL. */
static char *
path_of_line(char *line)
{
    char *p = line;

    if (!(*p >= '0' && *p <= '9') && !(*p >= 'a' && *p <= 'f'))
        return NULL;
    for (int field = 0; field < 5; field++) {
        while (*p && *p != ' ')
            p++;
        while (*p == ' ')
            p++;
    }
    return *p == '/' ? p : NULL;
}

static void
put_map_line(struct text *t, char *line)
{
    char ctr[LPMX_PATH_MAX], *path = path_of_line(line);
    bool outside;

    if (path && !uufs_from_host(&engine.fs, path, ctr, sizeof(ctr))) {
        put(t, line, (size_t)(path - line));
        put_string(t, root_show(ctr, &outside));
    } else {
        put_string(t, line);
    }
    put(t, "\n", 1);
}

/* Every line of the file @host through @put_line. */
static long
translate_lines(const char *host, struct text *t, void (*put_line)(struct text *, char *))
{
    char line[LPMX_PATH_MAX + 256], buf[1024];
    size_t len = 0;
    long n, fd = sys4(SYS_openat, AT_FDCWD, host, O_RDONLY | O_CLOEXEC, 0);

    if (fd < 0)
        return fd;
    while ((n = sys3(SYS_read, fd, buf, sizeof(buf))) > 0) {
        for (long i = 0; i < n; i++) {
            if (buf[i] != '\n' && len < sizeof(line) - 1) {
                line[len++] = buf[i];
                continue;
            }
            line[len] = '\0';
            put_line(t, line);
            len = 0;
        }
    }
    sys1(SYS_close, fd);
    return n;
}

/* ---- status ---- */

#define SIGSYS_BIT (1ull << 30)

static void
put_hex16(struct text *t, uint64_t value)
{
    char digits[16];

    for (int i = 15; i >= 0; i--, value >>= 4)
        digits[i] = "0123456789abcdef"[value & 15];
    put(t, digits, sizeof(digits));
}

/* Caught signals: SIGSYS is one only where the program catches it itself. */
static void
put_caught(struct text *t, const char *line)
{
    uint64_t caught = 0;

    for (const char *p = line + 8; *p; p++)
        caught = caught << 4 | (uint64_t)(*p <= '9' ? *p - '0' : *p - 'a' + 10);
    if ((unsigned long)engine.sigsys.handler < 2) /* default or ignored */
        caught &= ~SIGSYS_BIT;
    put(t, line, 8);
    put_hex16(t, caught);
}

/* The handler blocks all of them. */
static void
put_blocked(struct text *t, const char *line)
{
    put(t, line, 8);
    put_hex16(t, *t->mask);
}

static void
put_ids(struct text *t, const struct cred_ids *ids)
{
    const uint32_t values[] = {ids->real, ids->effective, ids->saved, ids->fs};

    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        put_string(t, "\t");
        put_number(t, values[i]);
    }
}

static void
put_groups(struct text *t, const struct cred *c)
{
    put_string(t, "\t");
    for (uint32_t i = 0; i < c->n_groups; i++) {
        put_number(t, c->groups[i]);
        put_string(t, " ");
    }
}

/* A line of /proc/self/status with the emulated credentials in place of the real ones. */
static void
put_credentials(struct text *t, const char *line)
{
    const struct cred *c = cred_now();
    const struct {
        const char *name;
        uint64_t value;
    } sets[] = {{"CapInh:", c->inheritable},
                {"CapPrm:", c->permitted},
                {"CapEff:", c->effective},
                {"CapBnd:", c->bounding},
                {"CapAmb:", c->ambient}};
    size_t name = 0;

    while (line[name] && line[name] != '\t')
        name++;
    put(t, line, name);
    if (!strncmp(line, "Uid:", 4)) {
        put_ids(t, &c->user);
    } else if (!strncmp(line, "Gid:", 4)) {
        put_ids(t, &c->group);
    } else if (!strncmp(line, "Groups:", 7)) {
        put_groups(t, c);
    } else {
        size_t i = 0;

        while (i < ARRAY_LEN(sets) && strncmp(line, sets[i].name, 7))
            i++;
        if (i < ARRAY_LEN(sets)) {
            put_string(t, "\t");
            put_hex16(t, sets[i].value);
        } else {
            put_string(t, line + name);
        }
    }
}

static void
put_status_line(struct text *t, char *line)
{
    if (!strncmp(line, "SigCgt:\t", 8))
        put_caught(t, line);
    else if (t->mask && !strncmp(line, "SigBlk:\t", 8))
        put_blocked(t, line);
    else if (emulates_root())
        put_credentials(t, line);
    else
        put_string(t, line);
    put_string(t, "\n");
}

/* ---- mounts ---- */

static const char *
type_of(const struct uufs_bind *b, const char *dst)
{
    if (b->flags & UUFS_BIND_PROC)
        return "proc";
    if (!strcmp(dst, "/sys"))
        return "sysfs";
    return strcmp(dst, "/dev") ? "bind" : "devtmpfs";
}

struct mount {
    const char *type, *source, *at;
    bool read_only;
    const char *host; /* for its device number */
};

static void
put_mount(struct text *t, const struct mount *m, bool info, unsigned id)
{
    const char *mode = m->read_only ? "ro" : "rw";
    struct stat st;

    if (!info) {
        const char *parts[] = {m->source, " ", m->at, " ", m->type, " ", mode, ",relatime 0 0\n"};

        for (size_t i = 0; i < ARRAY_LEN(parts); i++)
            put_string(t, parts[i]);
        return;
    }
    if (sys4(SYS_newfstatat, AT_FDCWD, m->host, &st, 0))
        st.st_dev = 0;
    put_number(t, 100 + id);
    put_string(t, id ? " 100 " : " 1 ");
    put_number(t, gnu_dev_major(st.st_dev));
    put_string(t, ":");
    put_number(t, gnu_dev_minor(st.st_dev));
    const char *parts[] = {" / ",     m->at, " ",  mode, ",relatime - ", m->type, " ",
                           m->source, " ",   mode, "\n"};

    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        put_string(t, parts[i]);
}

static void
list_mounts(struct text *t, bool info)
{
    const struct uufs *fs = &engine.fs;
    struct mount root = {"overlay", "lpmx", "/", fs->read_only || !fs->upper,
                         fs->upper ? fs->upper : fs->strings + fs->layers[0].off};

    put_mount(t, &root, info, 0);
    for (uint32_t i = 0; i < fs->n_binds; i++) {
        const struct uufs_bind *b = &fs->binds[i];
        const char *dst = fs->strings + b->dst, *type = type_of(b, dst);
        struct mount m = {type, strcmp(type, "bind") ? type : "lpmx", dst, b->flags & UUFS_BIND_RO,
                          fs->strings + b->src};

        if (!(b->flags & UUFS_BIND_SEED))
            put_mount(t, &m, info, i + 1);
    }
}

/* ---- which file ---- */

enum kind { KIND_none, KIND_maps, KIND_mounts, KIND_mountinfo, KIND_status };

static enum kind
kind_of(const struct uufs_hit *hit)
{
    const char *rel, *name;

    if (hit->bind < 0 || !(engine.fs.binds[hit->bind].flags & UUFS_BIND_PROC))
        return KIND_none;
    rel = hit->ctr + engine.fs.binds[hit->bind].dst_len;
    for (name = rel + strlen(rel); name > rel && name[-1] != '/'; name--)
        ;
    if (!strcmp(rel, "/mounts"))
        return KIND_mounts;
    if (strncmp(rel, "/self/", 6) && strncmp(rel, "/thread-self/", 13) &&
        !(rel[0] == '/' && rel[1] >= '0' && rel[1] <= '9'))
        return KIND_none;
    if (!strcmp(name, "maps") || !strcmp(name, "smaps"))
        return KIND_maps;
    if (!strcmp(name, "mounts"))
        return KIND_mounts;
    if (!strcmp(name, "status") && proc_is_own(hit->host))
        return KIND_status;
    return strcmp(name, "mountinfo") ? KIND_none : KIND_mountinfo;
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
    return kind_of(hit) != KIND_none;
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
    enum kind kind = kind_of(hit);
    struct text t = {.mask = is_of_thread(hit) ? c->mask : NULL};
    char name[200] = "";
    long r;

    name_memory(hit, name, sizeof(name));
    r = new_memory(name, flags & O_CLOEXEC);
    if (r < 0)
        return r;
    t.fd = (int)r;
    if (kind == KIND_maps)
        r = translate_lines(hit->host, &t, put_map_line);
    else if (kind == KIND_status)
        r = translate_lines(hit->host, &t, put_status_line);
    else
        list_mounts(&t, kind == KIND_mountinfo);
    flush(&t);
    if (r < 0) {
        sys1(SYS_close, t.fd);
        return r;
    }
    close_to_writing(t.fd, flags & O_CLOEXEC);
    return t.fd;
}
