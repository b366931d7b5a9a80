/* Mapping a plan: the file is checked once here, so that the rest of the engine may trust every
 * offset in it. */
#include "plan.h"

#include "../base/libc.h"
#include "../uufs/bind.h"
#include "../uufs/dirty.h"
#include "../uufs/hostfd.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>

HOT_FILE;

/* Map the file behind @fd, which is closed; *size gets its length. */
static int
map_opened(int fd, int prot, int share, const void **map, uint64_t *size)
{
    struct stat st;
    long r = sys2(SYS_fstat, fd, &st);

    *map = NULL;
    *size = 0;
    if (r == 0 && st.st_size <= 0)
        r = -EBADMSG;
    if (r == 0) {
        r = sys6(SYS_mmap, 0, st.st_size, prot, share, fd, 0);
        if (!sys_failed(r)) {
            *map = (const void *)r;
            *size = (uint64_t)st.st_size;
            r = 0;
        }
    }
    sys1(SYS_close, fd);
    return (int)r;
}

static int
map_file(const char *path, const void **map, uint64_t *size)
{
    int fd = hostfd_open(path, O_RDONLY, 0);

    *map = NULL;
    *size = 0;
    return fd < 0 ? fd : map_opened(fd, PROT_READ, MAP_PRIVATE, map, size);
}

/* The plan, read into the engine's room: for its few hundred bytes that is cheaper than a mapping,
 * in every start and in every fork. A long one is mapped. */
static int
read_plan(struct engine *e, const char *path, const void **plan, uint64_t *size)
{
    size_t at = (e->kept + 7) & ~(size_t)7, cap = sizeof(e->room) - at;
    size_t n = 0;
    long r, fd = hostfd_open(path, O_RDONLY, 0);

    if (fd < 0)
        return (int)fd;
    do {
        r = sys3(SYS_read, fd, e->room + at + n, cap - n);
        n += r > 0 ? (size_t)r : 0;
    } while (r > 0 && n < cap);
    sys1(SYS_close, fd);
    if (r < 0 || n == cap)
        return map_file(path, plan, size);
    e->kept = at + n;
    *plan = e->room + at;
    *size = n;
    return 0;
}

static bool
string_ok(const struct plan *p, struct uufs_string s)
{
    return s.len < p->size && s.off < p->size - s.len && ((const char *)p)[s.off + s.len] == '\0';
}

static bool
list_ok(const struct plan *p, struct plan_list l, size_t item)
{
    return l.n <= p->size / item && l.off <= p->size - l.n * item && l.off % 4 == 0;
}

static bool
strings_ok(const struct plan *p, struct plan_list l)
{
    const struct uufs_string *s = (const void *)((const char *)p + l.off);

    if (!list_ok(p, l, sizeof(*s)))
        return false;
    for (uint32_t i = 0; i < l.n; i++)
        if (!string_ok(p, s[i]))
            return false;
    return true;
}

static bool
binds_ok(const struct plan *p)
{
    const struct uufs_bind *b = (const void *)((const char *)p + p->binds.off);

    if (!list_ok(p, p->binds, sizeof(*b)))
        return false;
    for (uint32_t i = 0; i < p->binds.n; i++) {
        struct uufs_string dst = {b[i].dst, b[i].dst_len}, src = {b[i].src, b[i].src_len};

        if (!string_ok(p, dst) || !string_ok(p, src) || !dst.len || !src.len)
            return false;
    }
    return true;
}

static bool
commands_ok(const struct plan *p)
{
    const struct plan_command *c = (const void *)((const char *)p + p->commands.off);

    if (!list_ok(p, p->commands, sizeof(*c)))
        return false;
    for (uint32_t i = 0; i < p->commands.n; i++, c++) {
        const struct uufs_string strings[] = {c->path,   c->name, c->where,
                                              c->target, c->plan, c->cwd};

        for (size_t j = 0; j < ARRAY_LEN(strings); j++)
            if (!string_ok(p, strings[j]))
                return false;
        if ((c->kind != COMMAND_CALLEE && c->kind != COMMAND_HOST) || !c->target.len ||
            (c->kind == COMMAND_CALLEE && !c->plan.len) || !strings_ok(p, c->env_names) ||
            !strings_ok(p, c->env))
            return false;
    }
    return true;
}

static bool
plan_ok(const struct plan *p, uint64_t size)
{
    if (size < sizeof(*p) || memcmp(p->magic, PLAN_MAGIC, sizeof(p->magic)) ||
        p->version != PLAN_VERSION || p->size != size || size > 1U << 30)
        return false;
    const struct uufs_string strings[] = {p->loader, p->view, p->upper,    p->work,
                                          p->dirty,  p->cwd,  p->container};

    for (size_t i = 0; i < ARRAY_LEN(strings); i++)
        if (!string_ok(p, strings[i]))
            return false;
    return strings_ok(p, p->layers) && strings_ok(p, p->stores) && strings_ok(p, p->argv) &&
           strings_ok(p, p->env) && list_ok(p, p->groups, sizeof(uint32_t)) && binds_ok(p) &&
           commands_ok(p) && list_ok(p, p->ports, sizeof(struct plan_port));
}

/* File systems that are this machine's alone, so that its processes share what they map. Others may
 * be a network's. */
static bool
is_local(const struct statfs *fs)
{
    static const uint32_t local[] = {
        0xef53,     /* ext2, ext3, ext4 */
        0x58465342, /* XFS */
        0x9123683e, /* Btrfs */
        0x01021994, /* tmpfs */
        0x794c7630, /* overlayfs, whose upper is local */
        0x2fc12fc1, /* ZFS */
        0xf2f52010, /* F2FS */
        0xca451a4e, /* bcachefs */
        0x52654973, /* ReiserFS */
        0x3153464a, /* JFS */
        0x858458f6, /* ramfs */
    };

    for (size_t i = 0; i < ARRAY_LEN(local); i++)
        if ((uint32_t)fs->f_type == local[i])
            return true;
    return false;
}

/* On a network file system there is no map: its other users are told (uufs/dirty.c), and the upper
 * is asked every time. */
static int
tell_elsewhere(int fd)
{
    uint64_t first = 0;
    long r = sys4(SYS_pread64, fd, &first, sizeof(first), 0);

    if (r < 0 || first & UUFS_DIRTY_ELSEWHERE)
        return r < 0 ? (int)r : 0;
    first |= UUFS_DIRTY_ELSEWHERE;
    r = sys4(SYS_pwrite64, fd, &first, sizeof(first), 0);
    return r < 0 ? (int)r : 0;
}

static int
map_dirty(struct uufs *fs, const char *path)
{
    struct statfs disk;
    const void *map;
    uint64_t size, bits = 64;
    int fd = hostfd_open(path, O_RDWR, 0), err;

    if (fd < 0)
        return fd;
    err = (int)sys2(SYS_fstatfs, fd, &disk);
    if (!err && !is_local(&disk)) {
        err = tell_elsewhere(fd);
        sys1(SYS_close, fd);
        return err;
    }
    err = map_opened(fd, PROT_READ | PROT_WRITE, MAP_SHARED, &map, &size);
    if (err)
        return err;
    while (bits * 2 <= size * 8 && bits < 1U << 31)
        bits *= 2;
    fs->dirty = (uint64_t *)map;
    fs->dirty_bits = (uint32_t)bits;
    if (size > bits / 8 && bits / 8 > UUFS_DIRTY_HEAD) /* its size says that it has a head */
        fs->moves = &fs->dirty[1];
    return 0;
}

int
plan_load(struct engine *e, const char *path, const char **what)
{
    const void *map;
    const char *base;
    uint64_t size;
    struct uufs *fs = &e->fs;
    int err = read_plan(e, path, &map, &size);

    *what = path;
    if (err)
        return err;
    if (!plan_ok(map, size))
        return -EBADMSG;
    e->plan = map;
    base = map;
    fs->strings = base;
    fs->layers = (const void *)(base + e->plan->layers.off);
    fs->n_layers = e->plan->layers.n;
    fs->stores = (const void *)(base + e->plan->stores.off);
    fs->n_stores = e->plan->stores.n;
    fs->binds = (const void *)(base + e->plan->binds.off);
    fs->n_binds = e->plan->binds.n;
    uufs_note_binds(fs);
    fs->read_only = e->plan->flags & PLAN_READ_ONLY;
    fs->extras_beside = e->plan->flags & PLAN_EXTRAS_BESIDE;
    if (e->plan->upper.len) {
        fs->upper = base + e->plan->upper.off;
        fs->upper_len = e->plan->upper.len;
        fs->work = base + e->plan->work.off;
        fs->work_len = e->plan->work.len;
    }
    *what = base + e->plan->view.off;
    err = map_file(*what, &map, &size);
    if (!err)
        err = view_open(&fs->view, map, size);
    if (!err && fs->view.n_layers != fs->n_layers)
        err = -EBADMSG;
    if (!err && e->plan->dirty.len) {
        *what = base + e->plan->dirty.off;
        err = map_dirty(fs, *what);
    }
    return err;
}
