/* What files of /proc contain, with the container's paths: see contents.h. */
#include "contents.h"

#include "../../base/libc.h"
#include "../../base/str.h"
#include "../../uufs/walk/fromhost.h"
#include "../fakeroot/cred.h"
#include "../program/root.h"

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

long
contents_write(enum contents kind, const char *host, const uint64_t *mask, int fd)
{
    struct text t = {.fd = fd, .mask = mask};
    long r = 0;

    if (kind == CONTENTS_MAPS)
        r = translate_lines(host, &t, put_map_line);
    else if (kind == CONTENTS_STATUS)
        r = translate_lines(host, &t, put_status_line);
    else
        list_mounts(&t, kind == CONTENTS_MOUNTINFO);
    flush(&t);
    return r;
}
