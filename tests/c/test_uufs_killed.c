/* Killed in the middle: whatever system call of ours was the last, the tree is that of before or of
 * after the program's call. Each random call is run in a child that is killed at its first system
 * call, then, if that changed nothing to be seen, again at its second, and so on until it is done.
 */
#include "outcome_tools.h"

#define MAX_STOPS 2000

/* Run the call in a child to its @stops-th stop at a system call and kill it there. True: it was
 * done before that; its answer is in *@answer. */
static bool
run_and_kill(const struct uufs *fs, const struct op *op, unsigned stops, int *answer)
{
    int status;
    pid_t pid = fork();

    if (!pid) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        *answer = op_union(fs, op);
        _exit(0);
    }
    must(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status), "waitpid");
    for (unsigned i = 0; i < stops; i++) {
        must(!ptrace(PTRACE_SYSCALL, pid, 0, 0), "ptrace");
        must(waitpid(pid, &status, 0) == pid, "waitpid");
        if (WIFEXITED(status))
            return true;
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return false;
}

static int
kill_everywhere(const struct box *b, const char *plain, const struct op *op, int *answer)
{
    unsigned stops = 2; /* each call of the kernel stops twice: before it and after it */

    while (stops < MAX_STOPS && !run_and_kill(&b->fs, op, stops, answer)) {
        int seen = what_is_seen(b, plain, op);

        if (seen)
            return seen;
        stops += 2;
    }
    CHECK(stops < MAX_STOPS);
    if (!*answer)
        CHECK_EQ(op_plain(plain, op), 0);
    return 1;
}

static void
test_a_killed_call_leaves_the_tree_of_before_or_after(uint64_t seed, unsigned calls)
{
    struct box b;
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
    int *answer = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int seen = 1;

    box_random(&b, &state);
    char *plain = strdup(path_in(&b, "plain"));
    unsigned long lower = tree_checksum(path_in(&b, "layers"));

    for (unsigned i = 0; i < calls && seen >= 0; i++) {
        struct op op;

        do
            random_op(&state, N_ATOMIC, &op);
        while (!plausible(plain, &op));
        seen = kill_everywhere(&b, plain, &op, answer);
        CHECK(seen >= 0);
        if (seen < 0)
            fprintf(stderr, "seed %llu, call %u\n", (unsigned long long)seed, i);
    }
    CHECK_EQ(lower, tree_checksum(path_in(&b, "layers")));
    compare_trees(&b, plain, seed, calls);
    check_next_layer(&b, plain);
    munmap(answer, 4096);
    free(plain);
    box_free(&b);
}

int
main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    unsigned rounds = argc > 2 ? (unsigned)atoi(argv[2]) : 4;

    umask(022);
    tree_breadth = 3;
    tree_depth = 2;
    for (uint64_t seed = first; seed < first + rounds; seed++)
        test_a_killed_call_leaves_the_tree_of_before_or_after(seed, 40);
    return check_done("uufs killed");
}
