/* The union against an oracle: the same random calls on it and on a plain tree must give the same answers and trees;
 * a process killed in the middle of a call must leave the tree of before or of after; two processes at the same name
 * must both be served as by one file system. */
#include "check.h"
#include "union_tools.h"

#include <sched.h>
#include <signal.h>
#include <time.h>

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
    N_KINDS
};

static const char *const kind_name[] = {"create", "mkdir",   "unlink", "rmdir", "rename", "noreplace",
                                        "exchange", "link", "symlink", "chmod", "write",  "append"};

struct op {
    enum kind kind;
    mode_t mode;
    char a[64], b[64], text[16];
};

/* xorshift */
static uint32_t
random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 16);
}

static void
random_path(uint64_t *seed, char *out)
{
    unsigned depth = 1 + random_next(seed) % 3;

    *out = '\0';
    for (unsigned i = 0; i < depth; i++) {
        const char part[3] = {'/', (char)('a' + random_next(seed) % 4), '\0'};

        strcat(out, part);
    }
}

static void
random_op(uint64_t *seed, unsigned kinds, struct op *op)
{
    static const mode_t modes[] = {0755, 0700, 0750, 0711};

    op->kind = random_next(seed) % kinds;
    op->mode = modes[random_next(seed) % 4];
    random_path(seed, op->a);
    random_path(seed, op->b);
    snprintf(op->text, sizeof(op->text), "t%u", random_next(seed) % 1000);
}

static int
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
    default:
        return u_chmod(fs, op->a, op->mode);
    }
}

static int
result(long r)
{
    return r < 0 ? -errno : 0;
}

static int
op_plain(const char *root, const struct op *op)
{
    char a[PATH_MAX], b[PATH_MAX];
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
    default:
        return result(chmod(a, op->mode));
    }
}

/* ---- trees ---- */

static void
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
static int
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

static unsigned long
tree_checksum(const char *path)
{
    struct stat st;
    struct dirent *d;
    unsigned long sum;

    must(!lstat(path, &st), path);
    sum = st.st_ino * 31 + st.st_mode * 7 + (unsigned long)st.st_nlink + (unsigned long)st.st_size * 3 +
          (unsigned long)st.st_mtim.tv_nsec + (unsigned long)st.st_ctim.tv_nsec * 5;
    DIR *dir = S_ISDIR(st.st_mode) ? opendir(path) : NULL;

    while (dir && (d = readdir(dir))) {
        char child[PATH_MAX];

        if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
            continue;
        snprintf(child, sizeof(child), "%s/%s", path, d->d_name);
        sum += tree_checksum(child);
    }
    if (dir)
        closedir(dir);
    return sum;
}

/* The same random lower tree for the union (in a layer) and the oracle. */
static void
grow(uint64_t *seed, const char *layer, const char *plain, unsigned depth)
{
    for (char c = 'a'; c <= 'd'; c++) {
        char a[PATH_MAX], b[PATH_MAX];
        unsigned what = random_next(seed) % 5;

        snprintf(a, sizeof(a), "%s/%c", layer, c);
        snprintf(b, sizeof(b), "%s/%c", plain, c);
        if (what < 3 && depth < 3 && (what || depth < 2)) {
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

static void
box_random(struct box *b, uint64_t *seed)
{
    box_new(b);
    box_layer(b);
    host_dir(path_in(b, "plain"), 0755);
    grow(seed, path_in(b, "layers/0/fs"), path_in(b, "plain"), 0);
    box_ready(b);
}

/* The upper as a layer on top gives the tree that the program saw: `commit` needs no more than to pack it. */
static void
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
    int differs = tree_differs(&fs, "", plain, why);

    CHECK(!differs);
    if (differs)
        fprintf(stderr, "as a layer: %s\n", why);
    free(strings);
    free(bytes.map);
}

/* ---- the same answers ---- */

/* A lower or merged directory cannot be moved: the one answer in which the union is not a plain tree. */
static bool
is_exdev(const struct op *op, int r)
{
    return r == -EXDEV && (op->kind == OP_RENAME || op->kind == OP_NOREPLACE || op->kind == OP_EXCHANGE);
}

static void
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

static void
test_random_calls_answer_as_on_a_plain_tree(uint64_t seed, unsigned steps)
{
    struct box b;
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
    unsigned done = 0;

    box_random(&b, &state);
    char *plain = strdup(path_in(&b, "plain"));
    unsigned long lower = tree_checksum(path_in(&b, "layers"));

    for (unsigned i = 0; i < steps; i++) {
        struct op op;

        random_op(&state, N_KINDS, &op);
        int got = op_union(&b.fs, &op), want = is_exdev(&op, got) ? got : op_plain(plain, &op);

        CHECK_EQ(got, want);
        if (got != want) {
            fprintf(stderr, "seed %llu, step %u: %s %s %s\n", (unsigned long long)seed, i, kind_name[op.kind],
                    op.a, op.b);
            break;
        }
        done += !got;
        if (i % 16 == 15)
            compare_trees(&b, plain, seed, i);
    }
    compare_trees(&b, plain, seed, steps);
    check_next_layer(&b, plain);
    CHECK(done > steps / 20);
    CHECK_EQ(lower, tree_checksum(path_in(&b, "layers")));
    free(plain);
    box_free(&b);
}

/* ---- killed in the middle ---- */

#define MAX_OPS 4000

struct progress {
    unsigned started, done;
    int result[MAX_OPS];
};

static void
op_number(uint64_t seed, unsigned i, struct op *op)
{
    uint64_t state = (seed + i) * 0x9e3779b97f4a7c15u + 7;

    random_next(&state);
    random_op(&state, N_ATOMIC, op);
}

static void
run_until_killed(const struct box *b, struct progress *p, uint64_t seed)
{
    for (unsigned i = p->done; i < MAX_OPS; i++) {
        struct op op;

        op_number(seed, i, &op);
        __atomic_store_n(&p->started, i + 1, __ATOMIC_SEQ_CST);
        p->result[i] = op_union(&b->fs, &op);
        __atomic_store_n(&p->done, i + 1, __ATOMIC_SEQ_CST);
    }
}

/* The call that was cut: its tree is that of before or of after it. A directory put in the place of an empty one that
 * holds marks takes two steps on the disk: between them the empty one is at the old name. */
static void
check_cut(const struct box *b, const char *plain, uint64_t seed, const struct op *op)
{
    static char before[512], after[512];
    char old[PATH_MAX];
    int differs = tree_differs(&b->fs, "", plain, before);

    if (differs && !op_plain(plain, op))
        differs = tree_differs(&b->fs, "", plain, after);
    if (differs && op->kind == OP_RENAME) {
        snprintf(old, sizeof(old), "%s%s", plain, op->a);
        if (!mkdir(old, 0755)) {
            struct stat st;

            if (!u_stat(&b->fs, op->a, &st))
                chmod(old, st.st_mode & 07777);
            differs = tree_differs(&b->fs, "", plain, after);
        }
    }
    CHECK(!differs);
    if (differs)
        fprintf(stderr, "seed %llu, %s %s %s: before: %s; after: %s\n", (unsigned long long)seed,
                kind_name[op->kind], op->a, op->b, before, after);
}

static void
kill_soon(pid_t pid, uint64_t *state)
{
    const struct timespec pause = {0, (long)(random_next(state) % 3000000)};
    int status;

    nanosleep(&pause, NULL);
    kill(pid, SIGKILL);
    must(waitpid(pid, &status, 0) == pid, "waitpid");
}

static void
test_a_killed_call_leaves_the_tree_of_before_or_after(uint64_t seed)
{
    struct box b;
    uint64_t state = seed + 99;
    struct progress *p = mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned applied = 0, cut = 0;
    unsigned long failed = check_failed;

    box_random(&b, &state);
    char *plain = strdup(path_in(&b, "plain"));
    unsigned long lower = tree_checksum(path_in(&b, "layers"));

    while (p->done < MAX_OPS && check_failed == failed) {
        struct op op;
        pid_t pid = fork();

        if (!pid) {
            run_until_killed(&b, p, seed);
            _exit(0);
        }
        kill_soon(pid, &state);
        for (; applied < p->done; applied++) {
            op_number(seed, applied, &op);
            if (!p->result[applied])
                CHECK_EQ(op_plain(plain, &op), 0);
        }
        if (p->started > p->done) {
            op_number(seed, p->done, &op);
            check_cut(&b, plain, seed, &op);
            applied = ++p->done;
            cut++;
        }
    }
    CHECK(cut > 5);
    CHECK_EQ(lower, tree_checksum(path_in(&b, "layers")));
    compare_trees(&b, plain, seed, MAX_OPS);
    munmap(p, sizeof(*p));
    free(plain);
    box_free(&b);
}

/* ---- two at once ---- */

#define ROUNDS 150

struct race {
    unsigned arrived[2][ROUNDS];
    int result[2][ROUNDS];
};

typedef int racer(const struct uufs *fs, unsigned round);

static void
race_one(const struct box *b, struct race *r, int who, racer *run)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        __atomic_store_n(&r->arrived[who][i], 1, __ATOMIC_SEQ_CST);
        while (!__atomic_load_n(&r->arrived[!who][i], __ATOMIC_SEQ_CST))
            sched_yield();
        r->result[who][i] = run(&b->fs, i);
    }
}

static struct race *
race_run(const struct box *b, racer *first, racer *second)
{
    struct race *r = mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pid[2];
    int status;

    for (int who = 0; who < 2; who++) {
        pid[who] = fork();
        if (!pid[who]) {
            race_one(b, r, who, who ? second : first);
            _exit(0);
        }
    }
    for (int who = 0; who < 2; who++) {
        must(waitpid(pid[who], &status, 0) == pid[who], "waitpid");
        CHECK_EQ(status, 0);
    }
    return r;
}

static void
box_for_races(struct box *b)
{
    char path[64], *data = malloc(65536);

    memset(data, '.', 65536);
    box_new(b);
    box_layer(b);
    for (unsigned i = 0; i < ROUNDS; i++) {
        snprintf(path, sizeof(path), "d%u", i);
        layer_dir(b, path, 0755);
        snprintf(path, sizeof(path), "d%u/file", i);
        host_file(layer_file(b, path), data, 65536, 0644);
        snprintf(path, sizeof(path), "e%u", i);
        layer_dir(b, path, 0755);
    }
    box_ready(b);
    free(data);
}

static int
write_mark(const struct uufs *fs, unsigned round, char mark, off_t at)
{
    char path[64];

    snprintf(path, sizeof(path), "/d%u/file", round);
    int fd = u_open(fs, path, O_RDWR, 0);

    if (fd < 0)
        return fd;
    must(pwrite(fd, &mark, 1, at) == 1, "pwrite");
    close(fd);
    return 0;
}

static int
race_mark_a(const struct uufs *fs, unsigned round)
{
    return write_mark(fs, round, 'A', 0);
}

static int
race_mark_b(const struct uufs *fs, unsigned round)
{
    return write_mark(fs, round, 'B', 1);
}

static int
race_unlink(const struct uufs *fs, unsigned round)
{
    char path[64];

    snprintf(path, sizeof(path), "/d%u/file", round);
    return u_unlink(fs, path);
}

static int
race_rmdir(const struct uufs *fs, unsigned round)
{
    char path[64];

    snprintf(path, sizeof(path), "/e%u", round);
    return u_rmdir(fs, path);
}

static int
race_create_in(const struct uufs *fs, unsigned round)
{
    char path[64];

    snprintf(path, sizeof(path), "/e%u/new", round);
    return u_mkdir(fs, path, 0755);
}

static int
race_mkdir(const struct uufs *fs, unsigned round)
{
    char path[64];

    snprintf(path, sizeof(path), "/d%u/file", round);
    return u_mkdir(fs, path, 0755);
}

static void
test_two_processes_at_one_name(void)
{
    struct box b;
    char path[64];

    box_for_races(&b);
    struct race *r = race_run(&b, race_mark_a, race_mark_b);

    for (unsigned i = 0; i < ROUNDS; i++) {
        char data[3] = "";

        CHECK_EQ(r->result[0][i], 0);
        CHECK_EQ(r->result[1][i], 0);
        snprintf(path, sizeof(path), "/d%u/file", i);
        int fd = u_open(&b.fs, path, O_RDONLY, 0);

        CHECK_EQ(read(fd, data, 2), 2);
        CHECK(!strcmp(data, "AB")); /* neither copy was lost */
        close(fd);
    }
    munmap(r, sizeof(*r));
    r = race_run(&b, race_unlink, race_unlink);
    for (unsigned i = 0; i < ROUNDS; i++)
        CHECK_EQ(r->result[0][i] + r->result[1][i], -ENOENT); /* one did it, the other found nothing */
    munmap(r, sizeof(*r));
    r = race_run(&b, race_mkdir, race_mkdir);
    for (unsigned i = 0; i < ROUNDS; i++)
        CHECK_EQ(r->result[0][i] + r->result[1][i], -EEXIST);
    munmap(r, sizeof(*r));
    r = race_run(&b, race_rmdir, race_create_in);
    for (unsigned i = 0; i < ROUNDS; i++) {
        snprintf(path, sizeof(path), "/e%u/new", i);
        struct stat st;
        bool removed = !r->result[0][i], created = !r->result[1][i];

        CHECK(removed != created);
        CHECK_EQ(u_stat(&b.fs, path, &st), created ? 0 : -ENOENT);
    }
    munmap(r, sizeof(*r));
    box_free(&b);
}

int
main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    unsigned rounds = argc > 2 ? (unsigned)atoi(argv[2]) : 12;

    umask(022);
    for (uint64_t seed = first; seed < first + rounds; seed++)
        test_random_calls_answer_as_on_a_plain_tree(seed, 600);
    for (uint64_t seed = first; seed < first + (rounds + 3) / 4; seed++)
        test_a_killed_call_leaves_the_tree_of_before_or_after(seed);
    test_two_processes_at_one_name();
    return check_done("uufs random");
}
