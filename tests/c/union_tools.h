/* A union to try things on: layers, upper and WORK in a temporary folder, and the calls a program
 * would make, done as preload/calls/ does them. Every call returns 0 or more, or a negative errno.
 */
#ifndef LPMX_TESTS_UNION_TOOLS_H
#define LPMX_TESTS_UNION_TOOLS_H

#include "hosted/view_build.h"
#include "hosted/view_merge.h"
#include "hosted/view_write.h"
#include "uufs/bind.h"
#include "uufs/change/copyup.h"
#include "uufs/change/create.h"
#include "uufs/dirty.h"
#include "uufs/change/link.h"
#include "uufs/walk/walkcache.h"
#include "uufs/list/readdir.h"
#include "uufs/change/remove.h"
#include "uufs/change/rename.h"
#include "uufs/walk/walk.h"
#include "uufs/whiteout.h"

#include <dirent.h>
#include <ftw.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_LAYERS  4
#define MAX_BINDS   8
#define DIRTY_BYTES (1 << 20)

struct layer_mark {
    char path[64];
    uint32_t flags;
};

struct box {
    char root[64];
    struct uufs fs;
    struct uufs_string layers[MAX_LAYERS], store;
    struct uufs_bind binds[MAX_BINDS];
    struct layer_mark marks[MAX_LAYERS][8];
    unsigned n_layers, n_marks[MAX_LAYERS];
    char strings[8192], upper[128], work[128];
    uint32_t strings_len;
    void *view_map;
};

/* ---- host side ---- */

static inline void
must(bool ok, const char *what)
{
    if (ok)
        return;
    perror(what);
    abort();
}

__attribute__((format(printf, 2, 3))) static inline char *
path_in(const struct box *b, const char *format, ...)
{
    static char ring[8][PATH_MAX];
    static unsigned next;
    char *out = ring[next++ % 8];
    va_list args;
    int n = snprintf(out, PATH_MAX, "%s/", b->root);

    va_start(args, format);
    vsnprintf(out + n, (size_t)(PATH_MAX - n), format, args);
    va_end(args);
    return out;
}

static inline void
host_dir(const char *path, mode_t mode)
{
    must(!mkdir(path, 0700) || errno == EEXIST, path);
    must(!chmod(path, mode), path);
}

static inline void
host_file(const char *path, const void *data, size_t n, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    must(fd >= 0 && write(fd, data, n) == (ssize_t)n && !fchmod(fd, mode), path);
    close(fd);
}

static int
host_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int
host_unlock_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)type, (void)ftw;
    return S_ISDIR(st->st_mode) ? chmod(path, 0700) : 0;
}

static inline void
host_remove(const char *path)
{
    nftw(path, host_unlock_one, 32, FTW_PHYS);
    nftw(path, host_remove_one, 32, FTW_PHYS | FTW_DEPTH);
}

static inline bool
host_has(const char *path)
{
    struct stat st;

    return !lstat(path, &st);
}

/* ---- building the box ---- */

static inline struct uufs_string
box_string(struct box *b, const char *s)
{
    struct uufs_string r = {b->strings_len, (uint32_t)strlen(s)};

    must(b->strings_len + r.len + 1 < sizeof(b->strings), "strings");
    memcpy(b->strings + r.off, s, r.len + 1);
    b->strings_len += r.len + 1;
    return r;
}

static inline char *
layer_file(const struct box *b, const char *path)
{
    return path_in(b, "layers/%u/fs/%s", b->n_layers - 1, path);
}

/* Begin a layer; what layer_* makes goes into it. */
static inline void
box_layer(struct box *b)
{
    unsigned i = b->n_layers++;

    host_dir(path_in(b, "layers/%u", i), 0755);
    host_dir(path_in(b, "layers/%u/fs", i), 0755);
    b->layers[i] = box_string(b, path_in(b, "layers/%u/fs", i));
}

static inline void
layer_put(struct box *b, const char *path, const char *text, mode_t mode)
{
    host_file(layer_file(b, path), text, strlen(text), mode);
}

static inline void
layer_dir(struct box *b, const char *path, mode_t mode)
{
    host_dir(layer_file(b, path), mode);
}

static inline void
layer_symlink(struct box *b, const char *path, const char *target)
{
    must(!symlink(target, layer_file(b, path)), path);
}

static inline void
layer_mark(struct box *b, const char *path, uint32_t flags)
{
    unsigned i = b->n_layers - 1;
    struct layer_mark *m = &b->marks[i][b->n_marks[i]++];

    snprintf(m->path, sizeof(m->path), "%s", path);
    m->flags = flags;
}

static inline struct vb_entry
entry_from(const struct stat *st)
{
    return (struct vb_entry){.mode = st->st_mode,
                             .tar_mode = st->st_mode,
                             .nlink = (uint32_t)st->st_nlink,
                             .uid = st->st_uid,
                             .gid = st->st_gid,
                             .mtime = st->st_mtim.tv_sec,
                             .mtime_ns = (uint32_t)st->st_mtim.tv_nsec,
                             .ctime = st->st_ctim.tv_sec,
                             .ctime_ns = (uint32_t)st->st_ctim.tv_nsec,
                             .size = (uint64_t)st->st_size,
                             .ino = st->st_ino,
                             .blocks = (uint64_t)st->st_blocks};
}

/* Add the tree at @host to the builder; in an upper (a layer to be) reserved names become flags. */
static inline void
scan_into(struct vb *vb, const char *host, const char *rel)
{
    char target[PATH_MAX], child[PATH_MAX], below[PATH_MAX];
    struct stat st;
    struct dirent *d;
    DIR *dir;

    must(!lstat(host, &st), host);
    struct vb_entry e = entry_from(&st);

    if (S_ISLNK(st.st_mode)) {
        ssize_t n = readlink(host, target, sizeof(target));

        must(n > 0, host);
        e.link = target;
        e.link_len = (uint32_t)n;
    }
    snprintf(child, sizeof(child), "%s/" WHITEOUT_OPAQUE, host);
    if (S_ISDIR(st.st_mode) && host_has(child))
        e.flags = VIEW_OPAQUE;
    must(!vb_add(vb, rel, strlen(rel), &e), rel);
    if (!S_ISDIR(st.st_mode))
        return;
    dir = opendir(host);
    must(dir != NULL, host);
    while ((d = readdir(dir))) {
        struct vb_entry hidden = {.mode = S_IFREG, .flags = VIEW_WHITEOUT};
        const char *name = d->d_name;

        if (!strcmp(name, ".") || !strcmp(name, "..") || !strcmp(name, WHITEOUT_OPAQUE))
            continue;
        bool mark = whiteout_is(name, strlen(name));

        if (mark)
            name += WHITEOUT_PREFIX_LEN;
        snprintf(child, sizeof(child), "%s/%s", host, name);
        snprintf(below, sizeof(below), "%s%s%s", rel, *rel ? "/" : "", name);
        if (!mark)
            scan_into(vb, child, below);
        else if (!host_has(child)) /* what is in the upper wins over its own whiteout */
            must(!vb_add(vb, below, strlen(below), &hidden), below);
    }
    closedir(dir);
}

struct bytes {
    void *map;
    uint64_t size;
};

static inline struct bytes
vb_take(struct vb *vb)
{
    static const uint8_t id[32];
    struct bytes out;
    int fd = memfd_create("view", 0);

    must(!vb_write(vb, fd, id), "vb_write");
    vb_free(vb);
    out.size = (uint64_t)lseek(fd, 0, SEEK_END);
    out.map = malloc(out.size);
    must(out.map && pread(fd, out.map, out.size, 0) == (ssize_t)out.size, "view");
    close(fd);
    return out;
}

static inline void
merge_tree(struct vb *image, const char *host, unsigned number, const struct layer_mark *marks,
           unsigned n)
{
    struct vb *vb = vb_new();
    uint8_t id[32] = {(uint8_t)number};
    struct bytes layer;

    must(!vb_layer(vb, id, 0), "vb_layer");
    scan_into(vb, host, "");
    for (unsigned i = 0; i < n; i++) {
        struct vb_entry e = {.mode = marks[i].flags & VIEW_WHITEOUT ? S_IFREG : S_IFDIR | 0755,
                             .flags = marks[i].flags};

        must(!vb_add(vb, marks[i].path, strlen(marks[i].path), &e), "mark");
    }
    layer = vb_take(vb);
    must(!vb_merge(image, layer.map, layer.size), "vb_merge");
    free(layer.map);
}

static inline void
box_new(struct box *b)
{
    memset(b, 0, sizeof(*b));
    snprintf(b->root, sizeof(b->root), "%s/lpmx-uufs-XXXXXX",
             getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    must(mkdtemp(b->root) != NULL, b->root);
    must(!chmod(b->root, 0755), b->root);
    b->strings_len = 1;
    host_dir(path_in(b, "layers"), 0755);
    host_dir(path_in(b, "upper"), 0755);
    host_dir(path_in(b, "work"), 0700);
}

/* All layers are there: make the view, and the union over it. */
static inline void
box_ready(struct box *b)
{
    struct vb *image = vb_new();
    struct bytes view;
    struct uufs *fs = &b->fs;

    for (unsigned i = 0; i < b->n_layers; i++)
        merge_tree(image, path_in(b, "layers/%u/fs", i), i + 1, b->marks[i], b->n_marks[i]);
    view = vb_take(image);
    b->view_map = view.map;
    must(!view_open(&fs->view, view.map, view.size), "view_open");
    b->store = box_string(b, path_in(b, "layers"));
    snprintf(b->upper, sizeof(b->upper), "%s/upper", b->root);
    snprintf(b->work, sizeof(b->work), "%s/work", b->root);
    fs->strings = b->strings;
    fs->layers = b->layers;
    fs->n_layers = b->n_layers;
    fs->stores = &b->store;
    fs->n_stores = 1;
    fs->binds = b->binds;
    fs->upper = b->upper;
    fs->upper_len = (uint32_t)strlen(b->upper);
    fs->work = b->work;
    fs->work_len = (uint32_t)strlen(b->work);
    fs->dirty = mmap(NULL, DIRTY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(fs->dirty != MAP_FAILED, "mmap");
    fs->dirty_bits = DIRTY_BYTES * 8;
    fs->moves = &fs->dirty[1];
    fs->places = calloc(1, sizeof(*fs->places));
    must(fs->places != NULL, "calloc");
}

static inline void
box_bind(struct box *b, const char *host, const char *ctr, uint32_t flags)
{
    struct uufs_string dst = box_string(b, ctr), src = box_string(b, host);

    b->binds[b->fs.n_binds++] = (struct uufs_bind){dst.off, dst.len, src.off, src.len, flags};
    uufs_note_binds(&b->fs);
}

static inline void
box_free(struct box *b)
{
    free(b->fs.places);
    munmap(b->fs.dirty, DIRTY_BYTES);
    free(b->view_map);
    host_remove(b->root);
}

/* ---- the program's calls ---- */

static inline int
u_open(const struct uufs *fs, const char *path, int flags, mode_t mode)
{
    struct uufs_hit hit;
    bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
    bool excl = (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL);
    unsigned how =
        (flags & O_CREAT ? UUFS_MISSING : 0) | (excl || (flags & O_NOFOLLOW) ? 0 : UUFS_FOLLOW);
    int err = uufs_walk(fs, "/", path, how, &hit), fd;

    if (!err && excl && hit.where != UUFS_ABSENT)
        err = -EEXIST;
    if (!err && hit.where != UUFS_ABSENT && hit.type == S_IFDIR && (writes || flags & O_CREAT))
        err = -EISDIR;
    if (!err && hit.where == UUFS_ABSENT)
        err = uufs_prepare_create(fs, &hit);
    else if (!err && writes)
        err = uufs_copy_up(fs, &hit, flags & O_TRUNC ? UUFS_COPY_NO_DATA : UUFS_COPY_DATA);
    if (err)
        return err;
    fd = open(hit.host, flags, mode);
    return fd < 0 ? -errno : fd;
}

static inline int
u_write(const struct uufs *fs, const char *path, const char *text)
{
    int fd = u_open(fs, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    if (fd < 0)
        return fd;
    must(write(fd, text, strlen(text)) == (ssize_t)strlen(text), path);
    close(fd);
    return 0;
}

/* The file's first bytes as a string, or an "E<errno>" text. */
static inline const char *
u_read(const struct uufs *fs, const char *path)
{
    static char text[256];
    int fd = u_open(fs, path, O_RDONLY, 0);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    if (fd < 0)
        snprintf(text, sizeof(text), "E%d", -fd);
    else if (n < 0)
        snprintf(text, sizeof(text), "E%d", errno);
    else
        text[n] = '\0';
    if (fd >= 0)
        close(fd);
    return text;
}

static inline int
u_stat(const struct uufs *fs, const char *path, struct stat *st)
{
    struct uufs_hit hit;
    int err = uufs_walk(fs, "/", path, 0, &hit);

    return err ? err : lstat(hit.host, st) ? -errno : 0;
}

static inline int
u_mkdir(const struct uufs *fs, const char *path, mode_t mode)
{
    struct uufs_hit hit;
    int err = uufs_walk(fs, "/", path, UUFS_LAST | UUFS_MISSING, &hit);

    return err ? err : uufs_mkdir(fs, &hit, mode);
}

static inline int
u_unlink(const struct uufs *fs, const char *path)
{
    struct uufs_hit hit;
    int err = uufs_walk(fs, "/", path, UUFS_LAST, &hit);

    return err ? err : uufs_unlink(fs, &hit);
}

static inline int
u_rmdir(const struct uufs *fs, const char *path)
{
    struct uufs_hit hit;
    int err = uufs_walk(fs, "/", path, UUFS_LAST, &hit);

    return err ? err : uufs_rmdir(fs, &hit);
}

static inline int
u_rename(const struct uufs *fs, const char *from, const char *to, unsigned flags)
{
    struct uufs_hit a, b;
    int err = uufs_walk(fs, "/", from, UUFS_LAST | UUFS_MISSING,
                        &a); /* the kernel, too, looks at both parents first */

    if (!err)
        err = uufs_walk(fs, "/", to, UUFS_LAST | UUFS_MISSING, &b);
    return err ? err : uufs_rename(fs, &a, &b, flags);
}

static inline int
u_link(const struct uufs *fs, const char *from, const char *to)
{
    struct uufs_hit a, b;
    int err = uufs_walk(fs, "/", from, 0, &a);

    if (!err)
        err = uufs_walk(fs, "/", to, UUFS_LAST | UUFS_MISSING, &b);
    return err ? err : uufs_link(fs, &a, &b);
}

static inline int
u_symlink(const struct uufs *fs, const char *target, const char *path)
{
    struct uufs_hit hit;
    int err = uufs_walk(fs, "/", path, UUFS_LAST | UUFS_MISSING, &hit);

    if (!err)
        err = uufs_prepare_create(fs, &hit);
    return err ? err : symlink(target, hit.host) ? -errno : 0;
}

static inline int
u_chmod(const struct uufs *fs, const char *path, mode_t mode)
{
    struct uufs_hit hit;
    int err = uufs_walk(fs, "/", path, UUFS_FOLLOW, &hit);

    if (!err)
        err = uufs_copy_up(fs, &hit, UUFS_COPY_DATA);
    return err ? err : chmod(hit.host, mode) ? -errno : 0;
}

struct u_entry {
    uint64_t ino;
    int64_t off;
    uint16_t reclen;
    uint8_t type;
    char name[];
};

struct names {
    unsigned n;
    char name[4096][64];
    uint64_t ino[4096];
    uint8_t type[4096];
};

static int
compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* All names of the directory through a buffer of @size bytes, "." and ".." left out, in listing
 * order. */
static inline int
u_list(const struct uufs *fs, const char *path, size_t size, struct names *out)
{
    char *buf = malloc(size);
    struct uufs_hit hit;
    int err = uufs_walk(fs, "/", path, UUFS_FOLLOW, &hit), fd;
    long n = 0;

    out->n = 0;
    if (err || (fd = open(hit.host, O_RDONLY | O_DIRECTORY)) < 0) {
        free(buf);
        return err ? err : -errno;
    }
    while ((n = uufs_getdents(fs, hit.ctr, hit.ctr_len, hit.node, fd, buf, size)) > 0) {
        for (long at = 0; at < n;) {
            struct u_entry *e = (struct u_entry *)(buf + at);

            at += e->reclen;
            if (!strcmp(e->name, ".") || !strcmp(e->name, ".."))
                continue;
            must(out->n < ARRAY_LEN(out->name), "too many names");
            out->ino[out->n] = e->ino;
            out->type[out->n] = e->type;
            snprintf(out->name[out->n++], sizeof(out->name[0]), "%s", e->name);
        }
    }
    close(fd);
    free(buf);
    return (int)n;
}

/* The sorted names with a space after each. */
static inline const char *
u_names(const struct uufs *fs, const char *path)
{
    static struct names names;
    static char text[4096];
    size_t len = 0;
    int err = u_list(fs, path, 4096, &names);

    if (err) {
        snprintf(text, sizeof(text), "E%d", -err);
        return text;
    }
    qsort(names.name, names.n, sizeof(names.name[0]), compare_names);
    text[0] = '\0';
    for (unsigned i = 0; i < names.n; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s ", names.name[i]);
    return text;
}

#endif
