/* Many threads that work on files at once, some of them on the smallest stacks allowed.
 *
 * usage: threads DIRECTORY [THREADS [ROUNDS]]     prints "threads N rounds M errors 0" */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define STACK_SMALL (16 * 1024)

static const char *directory;
static int rounds;
static atomic_int errors;

static void
check(int ok, const char *what)
{
    if (!ok) {
        atomic_fetch_add(&errors, 1);
        perror(what);
    }
}

static void
one_round(int thread, int round)
{
    char name[128], other[128];
    struct stat status;
    int fd;

    snprintf(name, sizeof(name), "%s/t%d-%d", directory, thread, round);
    snprintf(other, sizeof(other), "%s/t%d-%d.renamed", directory, thread, round);
    fd = creat(name, 0644);
    check(fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0, name);
    check(rename(name, other) == 0, "rename");
    check(stat(other, &status) == 0 && status.st_size == 1, "stat");
    check(access(name, F_OK) < 0, "the old name is still there");
    check(access("/etc/lpmx-image", R_OK) == 0, "/etc/lpmx-image");
    check(unlink(other) == 0, "unlink");
}

static void *
work(void *argument)
{
    int thread = (int)(long)argument;

    for (int round = 0; round < rounds; round++)
        one_round(thread, round);
    return NULL;
}

int
main(int argc, char **argv)
{
    int threads = argc > 2 ? atoi(argv[2]) : 32;
    pthread_t *ids = calloc((size_t)threads, sizeof(*ids));
    pthread_attr_t small;

    directory = argc > 1 ? argv[1] : "/tmp";
    rounds = argc > 3 ? atoi(argv[3]) : 20;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, STACK_SMALL);
    for (long i = 0; i < threads; i++)
        if (pthread_create(&ids[i], i % 2 ? &small : NULL, work, (void *)i) != 0)
            return 1;
    for (int i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    printf("threads %d rounds %d errors %d\n", threads, rounds, atomic_load(&errors));
    free(ids);
    return atomic_load(&errors) != 0;
}
