/* Edges of calls that only the kernel knows to be right: pointers that are none, a child of vfork
 * that asks to be traced, and listings in odd buffers. Each prints "ok", or the line that failed.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MUST(what)                                                                                 \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            printf("line %d: %s: %s\n", __LINE__, #what, strerror(errno));                         \
            fflush(stdout);                                                                        \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

#define FAULTS(call) MUST((errno = 0, (call) == -1 && errno == EFAULT))
#define TIMES        60 /* so often that the engine's quick ways are taken too */

/* ---- pointers */

static void
bad_pointers(void)
{
    char *none = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const char *const bad[] = {NULL, (char *)7, none, none + 4090, (char *)-8};
    char *const vector[] = {(char *)"x", NULL};
    struct stat st;
    int fd = open("/usr", O_RDONLY | O_DIRECTORY);

    MUST(none != MAP_FAILED && fd >= 0);
    for (int n = 0; n < TIMES; n++) {
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
            FAULTS(syscall(SYS_stat, bad[i], &st));
            FAULTS(syscall(SYS_newfstatat, fd, bad[i], &st, 0));
            FAULTS(syscall(SYS_open, bad[i], O_RDONLY));
            FAULTS(syscall(SYS_access, bad[i], R_OK));
            FAULTS(syscall(SYS_stat, "/etc/passwd", bad[i]));
            FAULTS(syscall(SYS_stat, "/usr/bin/env", bad[i]));
            FAULTS(syscall(SYS_getcwd, bad[i], 4096));
            FAULTS(syscall(SYS_execve, bad[i], vector, vector + 1));
            MUST(lseek(fd, 0, SEEK_SET) == 0);
            FAULTS(syscall(SYS_getdents64, fd, bad[i], 4096));
        }
        MUST(syscall(SYS_execveat, fd, NULL, vector, vector + 1, AT_EMPTY_PATH) == -1);
    }
}

/* ---- tracing */

static int
wait_for(pid_t pid)
{
    int status = -1;

    MUST(waitpid(pid, &status, 0) == pid);
    return status;
}

/* From its execve on, and not before: until then we could not let it go on. */
static void
traced_vfork(void)
{
    int status;
    pid_t pid = vfork();

    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        close(open("/etc/passwd", O_RDONLY));
        execl("/bin/true", "true", (char *)NULL);
        _exit(3);
    }
    MUST(pid > 0);
    status = wait_for(pid);
    MUST(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
    while (WIFSTOPPED(status)) {
        int sig = WSTOPSIG(status);

        MUST(!ptrace(PTRACE_CONT, pid, NULL, (void *)(intptr_t)(sig == SIGTRAP ? 0 : sig)));
        status = wait_for(pid);
    }
    MUST(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- listings */

static unsigned
count_records(int fd, char *buf, size_t size)
{
    unsigned count = 0;
    long n;

    MUST(lseek(fd, 0, SEEK_SET) == 0);
    while ((n = syscall(SYS_getdents64, fd, buf, size)) > 0)
        for (long at = 0; at < n; count++)
            at += ((struct dirent64 *)(buf + at))->d_reclen;
    MUST(n == 0);
    return count;
}

/* Whatever the size of the buffer and wherever it lies, the same number of names. */
static void
listings(void)
{
    static char buf[40000];
    unsigned expected;
    struct stat up;
    int fd = open("/usr", O_RDONLY | O_DIRECTORY);

    MUST(fd >= 0 && !stat("/", &up));
    for (int n = 0; n < TIMES; n++) {
        expected = count_records(fd, buf, sizeof(buf));
        MUST(expected > 8);
        for (size_t size = 300; size < 9000; size += 1777)
            for (size_t at = 0; at < 4096; at += 500)
                MUST(count_records(fd, buf + at, size) == expected);
        MUST(syscall(SYS_getdents64, fd, buf, 0) == 0); /* at the end */
        MUST(lseek(fd, 0, SEEK_SET) == 0);
        MUST(syscall(SYS_getdents64, fd, buf, 8) == -1 && errno == EINVAL);
        MUST(syscall(SYS_getdents64, fd, buf, sizeof(buf)) > 0);
        for (struct dirent64 *e = (struct dirent64 *)buf; e->d_reclen;
             e = (struct dirent64 *)((char *)e + e->d_reclen))
            if (!strcmp(e->d_name, "..")) {
                MUST(e->d_ino == up.st_ino);
                break;
            }
    }
}

int
main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } edges[] = {
        {"bad-pointers", bad_pointers},
        {"traced-vfork", traced_vfork},
        {"listings", listings},
    };

    for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++)
        if (argc == 2 && !strcmp(argv[1], edges[i].name)) {
            edges[i].run();
            puts("ok");
            return 0;
        }
    printf("no such edge\n");
    return 2;
}
