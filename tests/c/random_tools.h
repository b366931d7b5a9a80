/* Random calls on a union and on a plain tree, and how the two trees differ. */
#ifndef LPMX_TESTS_RANDOM_TOOLS_H
#define LPMX_TESTS_RANDOM_TOOLS_H

#include "check.h"
#include "union_tools.h"

enum kind {
    OP_CREATE,
    OP_MKDIR,
    OP_UNLINK,
    OP_RMDIR,
    OP_RENAME,
    OP_NOREPLACE,
    OP_EXCHANGE,
    OP_LINK,
    OP_SYMLINK,
    OP_CHMOD,
    N_ATOMIC,
    OP_WRITE = N_ATOMIC, /* these two take several calls */
    OP_APPEND,
    OP_CLEAR, /* rm -r */
    N_KINDS
};

static const char *const kind_name[] = {"create",    "mkdir",    "unlink", "rmdir",   "rename",
                                        "noreplace", "exchange", "link",   "symlink", "chmod",
                                        "write",     "append",   "clear"};

struct op {
    enum kind kind;
    mode_t mode;
    char a[64], b[64], text[16];
};

/* How many names a directory can have, and how deep paths go: small, so that calls meet. */
static unsigned tree_breadth = 4, tree_depth = 3;
static bool tree_marks; /* names that look like marks, which no layer can hold */

/* xorshift */
static inline uint32_t
random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 16);
}

static inline void
random_path(uint64_t *seed, char *out)
{
    unsigned depth = 1 + random_next(seed) % tree_depth;

    for (unsigned i = 0; i < depth; i++) {
        *out++ = '/';
        if (tree_marks && random_next(seed) % 8 == 0) {
            memcpy(out, ".wh.", 4);
            out += 4;
        }
        *out++ = (char)('a' + random_next(seed) % tree_breadth);
    }
    *out = '\0';
}

static inline void
random_op(uint64_t *seed, unsigned kinds, struct op *op)
{
    static const mode_t modes[] = {0755, 0700, 0750, 0711};

    op->kind = random_next(seed) % kinds;
    op->mode = modes[random_next(seed) % 4];
    random_path(seed, op->a);
    random_path(seed, op->b);
    snprintf(op->text, sizeof(op->text), "t%u", random_next(seed) % 1000);
}

static inline int
clear_union(const struct uufs *fs, const char *path)
{
    struct names *names = malloc(sizeof(*names));
    struct stat st;
    int err = u_stat(fs, path, &st);

    if (!err && S_ISDIR(st.st_mode)) {
        err = u_list(fs, path, 128, names);
        for (unsigned i = 0; !err && i < names->n; i++) {
            char child[200];

            snprintf(child, sizeof(child), "%.120s/%s", path, names->name[i]);
            err = clear_union(fs, child);
        }
        if (!err)
            err = u_rmdir(fs, path);
    } else if (!err) {
        err = u_unlink(fs, path);
    }
    free(names);
    return err;
}

static inline int
op_union(const struct uufs *fs, const struct op *op)
{
    int fd;

    switch (op->kind) {
    case OP_CREATE:
    case OP_WRITE:
    case OP_APPEND:
        fd = u_open(fs, op->a,
                    op->kind == OP_CREATE  ? O_WRONLY | O_CREAT | O_EXCL
                    : op->kind == OP_WRITE ? O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW
                                           : O_WRONLY | O_APPEND | O_NOFOLLOW,
                    op->mode);
        if (fd < 0)
            return fd;
        if (op->kind != OP_CREATE)
            must(write(fd, op->text, strlen(op->text)) > 0, "write");
        close(fd);
        return 0;
    case OP_MKDIR:
        return u_mkdir(fs, op->a, op->mode);
    case OP_UNLINK:
        return u_unlink(fs, op->a);
    case OP_RMDIR:
        return u_rmdir(fs, op->a);
    case OP_RENAME:
        return u_rename(fs, op->a, op->b, 0);
    case OP_NOREPLACE:
        return u_rename(fs, op->a, op->b, RENAME_NOREPLACE);
    case OP_EXCHANGE:
        return u_rename(fs, op->a, op->b, RENAME_EXCHANGE);
    case OP_LINK:
        return u_link(fs, op->a, op->b);
    case OP_SYMLINK:
        return u_symlink(fs, op->text, op->a);
    case OP_CLEAR:
        return clear_union(fs, op->a);
    default:
        return u_chmod(fs, op->a, op->mode);
    }
}

static inline int
result(long r)
{
    return r < 0 ? -errno : 0;
}

static inline int
op_plain(const char *root, const struct op *op)
{
    char a[PATH_MAX], b[PATH_MAX];
    struct stat st;
    int fd;

    snprintf(a, sizeof(a), "%s%s", root, op->a);
    snprintf(b, sizeof(b), "%s%s", root, op->b);
    switch (op->kind) {
    case OP_CREATE:
    case OP_WRITE:
    case OP_APPEND:
        fd = open(a,
                  op->kind == OP_CREATE  ? O_WRONLY | O_CREAT | O_EXCL
                  : op->kind == OP_WRITE ? O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW
                                         : O_WRONLY | O_APPEND | O_NOFOLLOW,
                  op->mode);
        if (fd < 0)
            return -errno;
        if (op->kind != OP_CREATE)
            must(write(fd, op->text, strlen(op->text)) > 0, "write");
        close(fd);
        return 0;
    case OP_MKDIR:
        return result(mkdir(a, op->mode));
    case OP_UNLINK:
        return result(unlink(a));
    case OP_RMDIR:
        return result(rmdir(a));
    case OP_RENAME:
        return result(rename(a, b));
    case OP_NOREPLACE:
        return result(syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, RENAME_NOREPLACE));
    case OP_EXCHANGE:
        return result(syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE));
    case OP_LINK:
        return result(link(a, b));
    case OP_SYMLINK:
        return result(symlink(op->text, a));
    case OP_CLEAR:
        if (result(lstat(a, &st)))
            return -errno;
        host_remove(a);
        return 0;
    default:
        return result(chmod(a, op->mode));
    }
}

/* ---- trees ---- */

static inline void
describe(const char *host, const struct stat *st, char *out, size_t size)
{
    char data[200];
    ssize_t n = 0;

    if (S_ISLNK(st->st_mode)) {
        n = readlink(host, data, sizeof(data));
    } else if (S_ISREG(st->st_mode)) {
        int fd = open(host, O_RDONLY);

        n = fd < 0 ? -1 : pread(fd, data, sizeof(data), 0);
        close(fd);
    }
    snprintf(out, size, "%o %s%lu %.*s", st->st_mode, S_ISREG(st->st_mode) ? "links " : "",
             S_ISREG(st->st_mode) ? (unsigned long)st->st_nlink : 0ul, n < 0 ? 0 : (int)n, data);
}

/* Where the union's directory @ctr and the plain one differ, into @why; 0 when they do not. */
static inline int
tree_differs(const struct uufs *fs, const char *ctr, const char *plain, char *why)
{
    struct names *mine = malloc(sizeof(*mine));
    int differs = u_list(fs, *ctr ? ctr : "/", 256, mine);
    unsigned count = 0;
    struct dirent *d;
    DIR *dir = opendir(plain);

    must(dir != NULL, plain);
    if (differs)
        snprintf(why, 512, "%s: cannot be listed: %d", ctr, differs);
    while (!differs && (d = readdir(dir))) {
        char path[600], host[PATH_MAX], want[300], got[300];
        struct stat st;
        struct uufs_hit hit;

        if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
            continue;
        count++;
        snprintf(path, sizeof(path), "%s/%s", ctr, d->d_name);
        snprintf(host, sizeof(host), "%s/%s", plain, d->d_name);
        must(!lstat(host, &st), host);
        describe(host, &st, want, sizeof(want));
        differs = uufs_walk(fs, "/", path, 0, &hit);
        if (differs) {
            snprintf(why, 512, "%.200s: %d, should be %.200s", path, differs, want);
            break;
        }
        must(!lstat(hit.host, &st), hit.host);
        describe(hit.host, &st, got, sizeof(got));
        differs = strcmp(got, want) || hit.type != (st.st_mode & S_IFMT);
        if (differs)
            snprintf(why, 512, "%.80s: %.180s, should be %.180s", path, got, want);
        else if (S_ISDIR(st.st_mode))
            differs = tree_differs(fs, path, host, why);
    }
    if (!differs && count != mine->n) {
        differs = 1;
        snprintf(why, 512, "%s: %u names listed, should be %u", ctr, mine->n, count);
    }
    closedir(dir);
    free(mine);
    return differs;
}

static inline unsigned long
tree_checksum(const char *path)
{
    struct stat st;
    struct dirent *d;
    unsigned long sum;

    must(!lstat(path, &st), path);
    sum = st.st_ino * 31 + st.st_mode * 7 + (unsigned long)st.st_nlink +
          (unsigned long)st.st_size * 3 + (unsigned long)st.st_mtim.tv_nsec +
          (unsigned long)st.st_ctim.tv_nsec * 5;
    DIR *dir = S_ISDIR(st.st_mode) ? opendir(path) : NULL;

    while (dir && (d = readdir(dir))) {
        char child[PATH_MAX];

        if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
            continue;
        must(snprintf(child, sizeof(child), "%s/%s", path, d->d_name) < PATH_MAX, path);
        sum += tree_checksum(child);
    }
    if (dir)
        closedir(dir);
    return sum;
}

/* The same random lower tree for the union (in a layer) and the oracle. */
static inline void
grow(uint64_t *seed, const char *layer, const char *plain, unsigned depth)
{
    for (char c = 'a'; c < 'a' + (char)tree_breadth; c++) {
        char a[PATH_MAX], b[PATH_MAX];
        unsigned what = random_next(seed) % 5;

        snprintf(a, sizeof(a), "%s/%c", layer, c);
        snprintf(b, sizeof(b), "%s/%c", plain, c);
        if (what < 3 && depth < tree_depth && (what || depth < 2)) {
            host_dir(a, 0755);
            host_dir(b, 0755);
            grow(seed, a, b, depth + 1);
        } else if (what < 4) {
            host_file(a, a + strlen(a) - 1, 1, 0644);
            host_file(b, a + strlen(a) - 1, 1, 0644);
        } else {
            must(!symlink("dangling", a) && !symlink("dangling", b), a);
        }
    }
}

static inline void
box_random(struct box *b, uint64_t *seed)
{
    box_new(b);
    box_layer(b);
    host_dir(path_in(b, "plain"), 0755);
    grow(seed, path_in(b, "layers/0/fs"), path_in(b, "plain"), 0);
    box_ready(b);
}

/* The upper as a layer on top gives the tree that the program saw: `commit` needs no more than to
 * pack it. */
static inline void
check_next_layer(const struct box *b, const char *plain)
{
    struct vb *image = vb_new();
    struct bytes bytes;
    struct uufs fs = b->fs;
    static char why[512];

    merge_tree(image, path_in(b, "layers/0/fs"), 1, NULL, 0);
    merge_tree(image, path_in(b, "upper"), 2, NULL, 0);
    bytes = vb_take(image);
    must(!view_open(&fs.view, bytes.map, bytes.size), "view_open");
    struct uufs_string layers[2] = {b->layers[0], {0, 0}};
    char *strings = malloc(sizeof(b->strings) + sizeof(b->upper));

    memcpy(strings, b->strings, sizeof(b->strings));
    memcpy(strings + sizeof(b->strings), b->upper, sizeof(b->upper));
    layers[1] = (struct uufs_string){sizeof(b->strings), (uint32_t)strlen(b->upper)};
    fs.strings = strings;
    fs.layers = layers;
    fs.n_layers = 2;
    fs.upper = NULL;
    fs.upper_len = 0;
    fs.places = NULL; /* they are of the other view */
    int differs = tree_differs(&fs, "", plain, why);

    CHECK(!differs);
    if (differs)
        fprintf(stderr, "as a layer: %s\n", why);
    free(strings);
    free(bytes.map);
}

/* Both trees must be the same, through the dirty map and without it. */
static inline void
compare_trees(const struct box *b, const char *plain, uint64_t seed, unsigned step)
{
    struct uufs probing = b->fs;
    static char why[512];

    probing.dirty = NULL;
    for (int i = 0; i < 2; i++) {
        int differs = tree_differs(i ? &probing : &b->fs, "", plain, why);

        CHECK(!differs);
        if (differs)
            fprintf(stderr, "seed %llu, step %u%s: %s\n", (unsigned long long)seed, step,
                    i ? ", without the dirty map" : "", why);
    }
}

#endif
