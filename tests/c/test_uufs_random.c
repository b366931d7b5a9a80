/* The union against an oracle: the same random calls on it and on a plain tree must give the same
 * answers and trees; two processes at the same name must both be served as by one file system. */
#include "random_tools.h"

#include <sched.h>

/* ---- the same answers ---- */

/* A lower or merged directory cannot be moved: the one answer in which the union is not a plain
 * tree. */
static bool
is_exdev(const struct op *op, int r)
{
    return r == -EXDEV &&
           (op->kind == OP_RENAME || op->kind == OP_NOREPLACE || op->kind == OP_EXCHANGE);
}

/* Calls by two processes in turn, as the seed has it: each remembers places of its own. */
static void
test_random_calls_answer_as_on_a_plain_tree(uint64_t seed, unsigned steps)
{
    struct box b;
    struct uufs process[2];
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
    unsigned done = 0;

    box_random(&b, &state);
    char *plain = strdup(path_in(&b, "plain"));
    unsigned long lower = tree_checksum(path_in(&b, "layers"));

    process[0] = process[1] = b.fs;
    process[1].places = calloc(1, sizeof(*process[1].places));
    must(process[1].places != NULL, "calloc");
    for (unsigned i = 0; i < steps; i++) {
        struct op op;

        random_op(&state, N_KINDS, &op);
        int got = op_union(&process[random_next(&state) % 2], &op),
            want = is_exdev(&op, got) ? got : op_plain(plain, &op);

        CHECK_EQ(got, want);
        if (got != want) {
            fprintf(stderr, "seed %llu, step %u: %s %s %s\n", (unsigned long long)seed, i,
                    kind_name[op.kind], op.a, op.b);
            break;
        }
        done += !got;
        if (i % 16 == 15)
            compare_trees(&b, plain, seed, i);
    }
    compare_trees(&b, plain, seed, steps);
    if (!tree_marks)
        check_next_layer(&b, plain);
    CHECK(done > steps / 20);
    CHECK_EQ(lower, tree_checksum(path_in(&b, "layers")));
    free(process[1].places);
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
    struct race *r =
        mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
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
        CHECK_EQ(r->result[0][i] + r->result[1][i],
                 -ENOENT); /* one did it, the other found nothing */
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
        for (int marks = 0; marks < 2; marks++) {
            tree_marks = marks;
            test_random_calls_answer_as_on_a_plain_tree(seed, 600);
        }
    tree_marks = false;
    test_two_processes_at_one_name();
    return check_done("uufs random");
}
