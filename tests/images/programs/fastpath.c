/* Hazards of the engine's fast path, one a mode; prints what was wrong, or "ok".
 *
 * usage: fastpath MODE     modes: see main; the file calls.def of the engine says what traps
 *
 * Sites of the C library are made hot first, so that with the default engine they are rewritten. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define HOT 16

static int failures;

#define CHECK(ok)                                                                                  \
    do {                                                                                           \
        if (!(ok)) {                                                                               \
            __atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED);                                    \
            dprintf(1, "line %d: %s (errno %d)\n", __LINE__, #ok, errno);                          \
        }                                                                                          \
    } while (0)

/* Everything once, and what it must answer. */
static void
use_all(void)
{
    struct stat st;
    char link[64];
    int fd;

    errno = 77;
    CHECK(!stat("/usr/bin/env", &st) && S_ISREG(st.st_mode) && st.st_size > 0);
    CHECK(!lstat("/usr/bin/awk", &st) && S_ISLNK(st.st_mode));
    CHECK(!access("/usr/bin/env", X_OK));
    CHECK(readlink("/usr/bin/awk", link, sizeof(link)) == 21 &&
          !memcmp(link, "/etc/alternatives/awk", 21));
    fd = open("/usr/bin/env", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) && !close(fd));
    CHECK(errno == 77);
    CHECK(stat("/usr/no-such", &st) == -1 && errno == ENOENT);
    CHECK(access("/usr/bin/env/x", F_OK) == -1 && errno == ENOTDIR);
    CHECK(stat((char *)16, &st) == -1 && errno == EFAULT);
    CHECK(stat("/usr", (struct stat *)16) == -1 && errno == EFAULT);
    CHECK(open("/usr", O_WRONLY) == -1 && errno == EISDIR);
}

static void
heat(void)
{
    for (int i = 0; i < HOT; i++)
        use_all();
}

/* 1 when the function's own system call is a jump, 0 when it is not, -1 when neither is found. */
static int
is_rewritten(const void *function)
{
    const unsigned char *p = function;

    for (int i = 0; i < 600; i++, p++)
        if (p[5] == 0x0f && p[6] == 0x05 && (p[0] == 0xb8 || p[0] == 0xe9))
            return p[0] == 0xe9;
    return -1;
}

static int
sites(void)
{
    heat();
    printf("access %d\n", is_rewritten((const void *)access));
    return 0;
}

/* ---- signals ---- */

static sigjmp_buf out;
static volatile int rings;

static void
leave(int signal)
{
    siglongjmp(out, signal);
}

static void
ring(int signal)
{
    int before = errno;

    (void)signal;
    rings++;
    use_all();
    errno = before;
}

static void
ring_after(long first, long then)
{
    struct itimerval timer = {{0, then}, {0, first}};

    setitimer(ITIMER_REAL, &timer, NULL);
}

/* Handlers that make calls of their own in the middle of calls, on a small stack of their own. */
static int
reentrant(void)
{
    stack_t stack = {.ss_sp = malloc(16384), .ss_size = 16384};
    struct sigaction action = {.sa_handler = ring, .sa_flags = SA_ONSTACK | SA_RESTART};

    heat();
    sigaltstack(&stack, NULL);
    sigaction(SIGALRM, &action, NULL);
    ring_after(200, 200);
    for (int i = 0; i < 2000000 && rings < 300; i++)
        use_all();
    ring_after(0, 0);
    CHECK(rings >= 300);
    return 0;
}

/* Handlers that never return: whatever the call held must be free again. */
static int
longjmps(void)
{
    volatile int left = 0;
    struct stat st;

    heat();
    signal(SIGALRM, leave);
    for (volatile int i = 0; i < 500; i++) {
        if (sigsetjmp(out, 1)) {
            left++;
            continue;
        }
        ring_after(100, 0);
        for (;;)
            stat("/usr/bin/env", &st);
    }
    ring_after(0, 0);
    CHECK(left == 500);
    use_all();
    /* from here on the tests count traps */
    fchmod(-77, 0);
    for (int i = 0; i < 1000; i++)
        stat("/usr/bin/env", &st);
    return 0;
}

/* ---- processes ---- */

static volatile int stop;

static void *
keep_calling(void *argument)
{
    while (!stop)
        use_all();
    return argument;
}

static pthread_t
start_thread(void *(*function)(void *), size_t stack)
{
    pthread_attr_t attributes;
    pthread_t thread;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, stack);
    if (pthread_create(&thread, &attributes, function, NULL))
        abort();
    return thread;
}

/* Forks of one thread while others are in the middle of calls, some on the smallest stacks. */
static int
forks(void)
{
    pthread_t threads[6];
    struct stat st;
    int status;

    for (int i = 0; i < 6; i++)
        threads[i] = start_thread(keep_calling, i % 2 ? 16384 : 1 << 20);
    for (int i = 0; i < 100; i++) {
        pid_t pid = fork();

        if (pid == 0) {
            for (int j = 0; j < 20; j++)
                use_all();
            _exit(failures != 0);
        }
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    }
    stop = 1;
    for (int i = 0; i < 6; i++)
        pthread_join(threads[i], NULL);
    CHECK(!stat("/usr", &st));
    return 0;
}

/* Children on their parent's memory. */
static int
vforks(void)
{
    static const char *const words[] = {"/bin/true", NULL};
    int status;

    for (int i = 0; i < 50; i++) {
        pid_t pid = vfork();

        if (pid == 0) {
            use_all();
            if (i % 2)
                execv("/bin/true", (char **)words);
            _exit(0);
        }
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
        use_all();
    }
    return 0;
}

/* ---- cancellation ---- */

static int cleaned;

static void
note_cleanup(void *argument)
{
    (void)argument;
    cleaned++;
}

static void *
wait_for_writer(void *path)
{
    pthread_cleanup_push(note_cleanup, NULL);
    heat();
    open(path, O_RDONLY);
    pthread_cleanup_pop(0);
    return NULL;
}

static void *
open_for_ever(void *path)
{
    pthread_cleanup_push(note_cleanup, NULL);
    for (;;)
        close(open(path, O_RDONLY));
    pthread_cleanup_pop(0);
    return NULL;
}

static void
cancel_soon(void *(*function)(void *), const char *path, int microseconds)
{
    pthread_t thread;
    void *result = NULL;

    if (pthread_create(&thread, NULL, function, (void *)path))
        abort();
    usleep((unsigned)microseconds);
    CHECK(!pthread_cancel(thread));
    CHECK(!pthread_join(thread, &result) && result == PTHREAD_CANCELED);
}

/* An open that waits for ever, and opens that never wait, end when their thread is cancelled. */
static int
cancels(void)
{
    unlink("/srv/fifo");
    CHECK(!mkfifo("/srv/fifo", 0600));
    for (int i = 0; i < 10; i++)
        cancel_soon(wait_for_writer, "/srv/fifo", 20000);
    for (int i = 0; i < 40; i++)
        cancel_soon(open_for_ever, "/usr/bin/env", 1000 + 37 * i);
    CHECK(cleaned == 50);
    heat();
    return 0;
}

/* ---- memory ---- */

/* KiB of memory that the engine added to this process: what is written at its address. */
static int
memory(void)
{
    unsigned long low, dirty, total = 0;
    char line[512];
    int ours = 0;
    FILE *maps;

    heat();
    maps = fopen("/proc/self/smaps", "r");
    while (maps && fgets(line, sizeof(line), maps)) {
        if (sscanf(line, "%lx-%*x", &low) == 1 && strchr(line, '-') == strpbrk(line, "- "))
            ours = low >> 32 == 0x7e80;
        else if (ours && sscanf(line, "Private_Dirty: %lu", &dirty) == 1)
            total += dirty;
    }
    printf("dirty %lu\n", total);
    return 0;
}

/* Run @change in a child, of whose memory we see nothing. */
static void
let_child(void (*change)(void))
{
    int status = -1;
    pid_t child = fork();

    if (!child) {
        change();
        _exit(failures);
    }
    CHECK(waitpid(child, &status, 0) == child && !status);
}

static void
make_directory(void)
{
    int fd;

    CHECK(!mkdir("/usr/lib/none", 0700));
    fd = open("/usr/lib/none/x", O_CREAT | O_WRONLY, 0600);
    CHECK(fd >= 0 && !close(fd));
}

static void
remove_directory(void)
{
    CHECK(!unlink("/usr/lib/none/x") && !rmdir("/usr/lib/none"));
}

static void
remove_link(void)
{
    CHECK(!unlink("/etc/alternatives/awk"));
}

static void
make_link(void)
{
    CHECK(!symlink("mawk", "/etc/alternatives/awk"));
}

static void
expect(const char *path, int err)
{
    struct stat st;

    for (int i = 0; i < 50; i++)
        CHECK(lstat(path, &st) == (err ? -1 : 0) && (!err || errno == err));
}

/* What is remembered of directories, present or not, holds no longer than it is true. */
static int
changes(void)
{
    heat();
    expect("/usr/lib/none/x", ENOENT);
    expect("/etc/alternatives/awk", 0);
    let_child(make_directory);
    expect("/usr/lib/none/x", 0);
    expect("/usr/lib/none/x/y", ENOTDIR);
    expect("/usr/lib/none/y", ENOENT);
    let_child(remove_directory);
    expect("/usr/lib/none/x", ENOENT);
    let_child(remove_link);
    expect("/etc/alternatives/awk", ENOENT);
    let_child(make_link);
    expect("/etc/alternatives/awk", 0);
    return 0;
}

/* A thousand calls of each kind after a call that a tracer knows: cancellable ones, which newer
 * libraries make from one place, among others from that place. */
static int
opens(void)
{
    char byte;
    int fd;

    heat();
    fchmod(-77, 0);
    for (int i = 0; i < 1000; i++) {
        fd = open("/usr/bin/env", O_RDONLY);
        CHECK(fd >= 0 && read(fd, &byte, 1) == 1 && byte == 0x7f && !close(fd));
        CHECK(open("/usr/bin/env/x", O_RDONLY) == -1 && errno == ENOTDIR);
        CHECK(write(-1, &byte, 1) == -1 && errno == EBADF);
    }
    return 0;
}

int
main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(void);
    } modes[] = {
        {"sites", sites},   {"reentrant", reentrant}, {"longjmps", longjmps},
        {"forks", forks},   {"vforks", vforks},       {"cancels", cancels},
        {"memory", memory}, {"opens", opens},         {"changes", changes},
    };

    for (size_t i = 0; argc > 1 && i < sizeof(modes) / sizeof(*modes); i++)
        if (!strcmp(argv[1], modes[i].name)) {
            modes[i].run();
            puts(failures ? "failed" : "ok");
            return failures != 0;
        }
    return 2;
}

/* ---- before main, and in front of libc ---- */

#ifdef PRELOADED
/* As a preloaded library: its constructor runs before those of all others, its access stands in
 * front of libc's. */
#include <dlfcn.h>

__attribute__((constructor)) static void
start(void)
{
    heat();
}

int
access(const char *path, int mode)
{
    int (*next)(const char *, int) = (int (*)(const char *, int))dlsym(RTLD_NEXT, "access");

    return next(path, mode);
}
#endif
