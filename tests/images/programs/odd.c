/* Programs that do what few programs do, one habit a name. What is under them must not show.
 *
 * usage: odd HABIT      prints "ok", or what went wrong and ends with 1. Works in its directory. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <ucontext.h>
#endif

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

#define MUST(what)                                                                                 \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            printf("line %d: %s: %s\n", __LINE__, #what, strerror(errno));                         \
            fflush(stdout);                                                                        \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static char self[4096];

/* Calls of each kind that the engine carries out. */
static void
use_files(const char *name)
{
    char link[64], target[64];
    struct stat st;
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);

    MUST(fd >= 0);
    MUST(write(fd, "text", 4) == 4);
    close(fd);
    MUST(!stat(name, &st) && st.st_size == 4);
    MUST(!access(name, R_OK));
    snprintf(link, sizeof(link), "%s.link", name);
    MUST(!symlink(name, link));
    MUST(readlink(link, target, sizeof(target)) == (ssize_t)strlen(name));
    MUST(!unlink(link) && !unlink(name));
    MUST(stat(name, &st) == -1 && errno == ENOENT);
}

static int
run_status(const char *program, const char *argument)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        execl(program, program, argument, (char *)NULL);
        _exit(127);
    }
    MUST(pid > 0 && waitpid(pid, &status, 0) == pid);
    return status;
}

/* ---- signals */

static void
block_all(void)
{
    unsigned long all = ~0UL, now = 0;
    sigset_t pending;

    MUST(!syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8));
    use_files("blocked");
    MUST(!syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &now, 8));
    for (int sig = 1; sig <= 64; sig++)
        if (sig != SIGKILL && sig != SIGSTOP && sig != SIGSYS)
            MUST(now & 1UL << (sig - 1));
    raise(SIGUSR1);
    MUST(!sigpending(&pending) && sigismember(&pending, SIGUSR1));
    MUST(run_status(self, "nothing") == 0); /* started with all blocked, and works */
}

static volatile sig_atomic_t handled;

static void
on_signal_use_files(int sig)
{
    int saved = errno;

    (void)sig;
    use_files("in-handler");
    handled++;
    errno = saved;
}

/* Small frames: what a handler on a small stack may allow itself. */
static void
on_signal_few_calls(int sig)
{
    int saved = errno, fd = open("/etc/passwd", O_RDONLY);

    (void)sig;
    if (fd >= 0 && !access("/etc/group", R_OK) && access("/etc/nothing", R_OK) && !close(fd))
        handled++;
    errno = saved;
}

static stack_t least;

/* On a signal stack it is told of as its own; it cannot be changed from there. */
static void
on_signal_ask(int sig)
{
    int saved = errno;
    stack_t now, other = {.ss_flags = SS_DISABLE};

    if (!sigaltstack(NULL, &now) && now.ss_sp == least.ss_sp && now.ss_size == least.ss_size &&
        now.ss_flags == SS_ONSTACK && sigaltstack(&other, NULL) == -1 && errno == EPERM)
        on_signal_few_calls(sig);
    errno = saved;
}

static void
catch_on_signal_stack(void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};

    MUST(!sigaction(SIGUSR1, &action, NULL));
}

/* The least size there is: the kernel's frame, and what a small handler needs. */
static unsigned long
least_size(void)
{
    unsigned long frame = getauxval(AT_MINSIGSTKSZ);

    return (frame > 2048 ? frame : 2048) + 1024;
}

static char *
install_least(void)
{
    unsigned long size = least_size();
    char *memory = malloc(size + 8192);

    memset(memory, 0x5a, size + 8192);
    least = (stack_t){.ss_sp = memory + 4096, .ss_size = size};
    MUST(!sigaltstack(&least, NULL));
    return memory;
}

static void
on_stack_of_least_size(void)
{
    stack_t now, bad = {.ss_sp = self, .ss_size = 2047};
    char *memory;

    MUST(!sigaltstack(NULL, &now) && now.ss_flags == SS_DISABLE);
    MUST(sigaltstack(&bad, NULL) == -1 && errno == ENOMEM);
    bad = (stack_t){.ss_sp = self, .ss_size = sizeof(self), .ss_flags = 8};
    MUST(sigaltstack(&bad, NULL) == -1 && errno == EINVAL);
    MUST(syscall(SYS_sigaltstack, 8, NULL) == -1 && errno == EFAULT);
    memory = install_least();
    catch_on_signal_stack(on_signal_ask);
    for (int i = 0; i < 50; i++) {
        raise(SIGUSR1);
        use_files("between");
    }
    MUST(handled == 50);
    for (unsigned i = 0; i < 4096; i++) /* nothing was written outside */
        MUST(memory[i] == 0x5a && memory[4096 + least.ss_size + i] == 0x5a);
    MUST(!sigaltstack(NULL, &now) && now.ss_sp == least.ss_sp && now.ss_size == least.ss_size);
    MUST(now.ss_flags == 0);
    if (fork() == 0) {
        raise(SIGUSR1);
        _exit(handled == 51 ? 0 : 1);
    }
    int status = -1;
    MUST(wait(&status) > 0 && status == 0);
    now.ss_flags = SS_DISABLE;
    MUST(!sigaltstack(&now, NULL) && !sigaltstack(NULL, &now) && now.ss_flags == SS_DISABLE);
    MUST(now.ss_size == 0);
}

static void *
thread_on_least_stack(void *unused)
{
    static char memory[8][16384];
    static int next;
    stack_t stack = {.ss_size = least_size()};

    (void)unused;
    stack.ss_sp = memory[__atomic_fetch_add(&next, 1, __ATOMIC_RELAXED) % 8];
    MUST(!sigaltstack(&stack, NULL));
    pthread_kill(pthread_self(), SIGUSR1);
    return NULL; /* and leaves it behind */
}

static void
on_signal_count(int sig)
{
    (void)sig;
    if (!access("/etc/group", R_OK) && access("/etc/nothing", R_OK))
        __atomic_fetch_add(&handled, 1, __ATOMIC_RELAXED);
}

/* A thousand threads, eight at once, each with a small signal stack that it never gives back. */
static void
signal_stacks_of_threads(void)
{
    catch_on_signal_stack(on_signal_count);
    for (int round = 0; round < 125; round++) {
        pthread_t threads[8];

        for (int i = 0; i < 8; i++)
            MUST(!pthread_create(&threads[i], NULL, thread_on_least_stack, NULL));
        for (int i = 0; i < 8; i++)
            MUST(!pthread_join(threads[i], NULL));
    }
    MUST(handled == 1000);
}

static sigjmp_buf back;

static void
on_signal_leave(int sig)
{
    (void)sig;
    siglongjmp(back, 1);
}

static void
arm(long microseconds)
{
    struct itimerval timer = {{0, 0}, {0, microseconds}};

    MUST(!setitimer(ITIMER_REAL, &timer, NULL));
}

/* A handler leaves an open that waits, 300 times: no stack of the engine may be lost. */
static void
leave_by_longjmp(void)
{
    struct sigaction action = {.sa_handler = on_signal_leave};
    volatile int left = 0;

    unlink("pipe");
    MUST(!mkfifo("pipe", 0600));
    MUST(!sigaction(SIGALRM, &action, NULL));
    while (left < 300) {
        if (!sigsetjmp(back, 1)) {
            arm(700);
            open("pipe", O_RDONLY);
            MUST(!"open came back");
        }
        left++;
    }
    use_files("after-jumps");
}

/* The same from a signal stack. */
static void
leave_signal_stack(void)
{
    static char memory[32768];
    stack_t stack = {.ss_sp = memory, .ss_size = sizeof(memory)};
    struct sigaction action = {.sa_handler = on_signal_leave, .sa_flags = SA_ONSTACK};
    volatile int left = 0;

    unlink("pipe2");
    MUST(!mkfifo("pipe2", 0600));
    MUST(!sigaltstack(&stack, NULL));
    MUST(!sigaction(SIGALRM, &action, NULL));
    while (left < 300) {
        if (!sigsetjmp(back, 1)) {
            arm(700);
            open("pipe2", O_RDONLY);
            MUST(!"open came back");
        }
        left++;
    }
    use_files("after-jumps2");
}

/* A timer fires all the time, in the middle of everything, and its handler makes calls too. */
static void
storm(void)
{
    struct sigaction action = {.sa_handler = on_signal_use_files, .sa_flags = SA_RESTART};
    struct itimerval timer = {{0, 300}, {0, 300}}, off = {{0, 0}, {0, 0}};

    MUST(!sigaction(SIGALRM, &action, NULL));
    MUST(!setitimer(ITIMER_REAL, &timer, NULL));
    for (int i = 0; i < 400 || handled < 200; i++)
        use_files("in-storm");
    for (int i = 0; i < 20; i++)
        MUST(run_status(self, "nothing") == 0);
    MUST(!setitimer(ITIMER_REAL, &off, NULL));
}

/* ---- threads */

static void *
spawner(void *argument)
{
    (void)argument;
    for (int i = 0; i < 60; i++) {
        int status = -1;
        pid_t pid = vfork();

        if (pid == 0) {
            execl(self, self, "nothing", (char *)NULL);
            _exit(127);
        }
        MUST(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
    }
    return NULL;
}

static void
vfork_in_threads(void)
{
    pthread_t threads[8];

    for (int i = 0; i < 8; i++)
        MUST(!pthread_create(&threads[i], NULL, spawner, NULL));
    for (int i = 0; i < 8; i++)
        MUST(!pthread_join(threads[i], NULL));
}

static void *
open_and_wait(void *name)
{
    open(name, O_RDONLY);
    return NULL;
}

/* A thread is cancelled while it waits in open, 200 times. */
static void
cancel_open(void)
{
    unlink("pipe3");
    MUST(!mkfifo("pipe3", 0600));
    for (int i = 0; i < 200; i++) {
        pthread_t thread;
        void *result;

        MUST(!pthread_create(&thread, NULL, open_and_wait, "pipe3"));
        if (i % 2)
            usleep(500);
        MUST(!pthread_cancel(thread));
        MUST(!pthread_join(thread, &result));
        MUST(result == PTHREAD_CANCELED);
    }
    use_files("after-cancels");
}

static void *
small_thread(void *number)
{
    char name[32];

    snprintf(name, sizeof(name), "small-%ld", (long)number);
    for (int i = 0; i < 50; i++)
        use_files(name);
    return NULL;
}

static void
least_thread_stacks(void)
{
    pthread_t threads[16];
    pthread_attr_t attributes;
    long least = sysconf(_SC_THREAD_STACK_MIN);

    pthread_attr_init(&attributes);
    MUST(!pthread_attr_setstacksize(&attributes, least > 16384 ? (size_t)least : 16384));
    for (long i = 0; i < 16; i++)
        MUST(!pthread_create(&threads[i], &attributes, small_thread, (void *)i));
    for (int i = 0; i < 16; i++)
        MUST(!pthread_join(threads[i], NULL));
}

#ifdef __GLIBC__
static ucontext_t outside, inside;

static void
coroutine(void)
{
    for (int i = 0; i < 50; i++) {
        use_files("in-coroutine");
        swapcontext(&inside, &outside);
    }
}

static void
coroutines(void)
{
    static char memory[12288];

    getcontext(&inside);
    inside.uc_stack.ss_sp = memory;
    inside.uc_stack.ss_size = sizeof(memory);
    inside.uc_link = &outside;
    makecontext(&inside, coroutine, 0);
    for (int i = 0; i < 50; i++) {
        MUST(!swapcontext(&outside, &inside));
        use_files("outside-coroutine");
    }
}
#endif

/* ---- registers and memory */

/* A call changes rax, rcx and r11, and no vector register. */
static void
registers(void)
{
    static unsigned long before[16], after[16];
    static double floats[32] __attribute__((aligned(64)));
    static struct stat st;

    for (int i = 0; i < 16; i++)
        before[i] = 0x1111111111111111ul * (unsigned long)i;
    before[7] = (unsigned long)"/etc/passwd"; /* rdi */
    before[6] = (unsigned long)&st;           /* rsi */
    for (int round = 0; round < 100; round++) {
        memset(floats, 0, sizeof(floats));
        __asm__ volatile("push %%rbx; push %%rbp; push %%r12; push %%r13; push %%r14; push %%r15\n"
                         "push %1\n"
                         "mov %0, %%rax\n"
                         "mov 0x08(%%rax), %%rbx; mov 0x18(%%rax), %%rdx; mov 0x20(%%rax), %%r8\n"
                         "mov 0x28(%%rax), %%r9; mov 0x30(%%rax), %%rsi; mov 0x38(%%rax), %%rdi\n"
                         "mov 0x48(%%rax), %%rbp; mov 0x50(%%rax), %%r10; mov 0x60(%%rax), %%r12\n"
                         "mov 0x68(%%rax), %%r13; mov 0x70(%%rax), %%r14; mov 0x78(%%rax), %%r15\n"
                         "movq %%r12, %%xmm0; movq %%r13, %%xmm7; movq %%r14, %%xmm15\n"
                         "mov $4, %%eax\n" /* stat */
                         "syscall\n"
                         "pop %%rcx\n"
                         "mov %%rax, 0x00(%%rcx); mov %%rbx, 0x08(%%rcx); mov %%rdx, 0x18(%%rcx)\n"
                         "mov %%r8, 0x20(%%rcx); mov %%r9, 0x28(%%rcx); mov %%rsi, 0x30(%%rcx)\n"
                         "mov %%rdi, 0x38(%%rcx); mov %%rbp, 0x48(%%rcx); mov %%r10, 0x50(%%rcx)\n"
                         "mov %%r12, 0x60(%%rcx); mov %%r13, 0x68(%%rcx); mov %%r14, 0x70(%%rcx)\n"
                         "mov %%r15, 0x78(%%rcx)\n"
                         "pop %%r15; pop %%r14; pop %%r13; pop %%r12; pop %%rbp; pop %%rbx\n"
                         "movq %%xmm0, (%2); movq %%xmm7, 8(%2); movq %%xmm15, 16(%2)\n"
                         :
                         : "r"(before), "r"(after), "r"(floats)
                         : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "xmm0",
                           "xmm7", "xmm15", "memory");
        MUST(after[0] == 0 && st.st_size > 0);
        for (int i = 1; i < 16; i++)
            if (i != 2 && i != 8 && i != 11)
                MUST(after[i] == before[i]);
        MUST(!memcmp(floats, &before[12], 3 * sizeof(long)));
    }
}

extern char _end;
static char **first_argv;

/* What the kernel leaves a new program: an aligned stack, a vector that tells of it, zeros behind
 * its data. */
static void
entry(void)
{
    const char *name = (const char *)getauxval(AT_EXECFN), *random = (char *)getauxval(AT_RANDOM);
    char comm[16] = "";

    MUST(!((unsigned long)(first_argv - 1) & 15));
    MUST(name && !strcmp(name, first_argv[0]));
    MUST(random && getauxval(AT_PHNUM) && getauxval(AT_PHDR) && getauxval(AT_ENTRY));
    MUST(getauxval(AT_SYSINFO_EHDR) && getauxval(AT_PAGESZ) == 4096);
    MUST(!prctl(PR_GET_NAME, comm) && !strncmp(comm, "odd", 3));
    for (char *p = &_end; (unsigned long)p & 4095; p++)
        MUST(!*p);
}

/* ---- a filter of the program's own */

static volatile sig_atomic_t trapped_call;

static void
on_own_trap(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)context;
    trapped_call = info->si_code == 1 /* SYS_SECCOMP */ ? info->si_syscall : -1;
}

/* As sandboxes do it: a call traps into the program's own handler, all others go on. */
static void
own_trap_filter(void)
{
    /* struct sock_filter and sock_fprog; musl has no headers of the kernel */
    static const struct {
        unsigned short code;
        unsigned char yes, no;
        unsigned value;
    } code[] = {
        {0x20, 0, 0, 0},         /* load the number */
        {0x15, 0, 1, SYS_sysfs}, /* is it this one? */
        {0x06, 0, 0, 0x00030000 /* SECCOMP_RET_TRAP */},
        {0x06, 0, 0, 0x7fff0000 /* SECCOMP_RET_ALLOW */},
    };
    const struct {
        unsigned short length;
        const void *code;
    } filter = {4, code};
    struct sigaction action = {.sa_sigaction = on_own_trap, .sa_flags = SA_SIGINFO}, told;

    MUST(!sigaction(SIGSYS, &action, NULL) && !sigaction(SIGSYS, NULL, &told));
    MUST(told.sa_sigaction == on_own_trap);
    MUST(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    MUST(!prctl(PR_SET_SECCOMP, 2 /* SECCOMP_MODE_FILTER */, &filter));
    syscall(SYS_sysfs, 3);
    MUST(trapped_call == SYS_sysfs);
    use_files("own-filter");
    MUST(run_status(self, "nothing") == 0);
}

/* ---- descriptors, environment, limits */

static void
close_all(void)
{
    int copy, out = fcntl(1, F_DUPFD, 600);

    for (int fd = 0; fd < 1024; fd++)
        if (fd != out)
            close(fd);
    copy = open("/etc/passwd", O_RDONLY);
    MUST(copy == 0); /* the lowest number, as ever */
    use_files("no-descriptors");
    MUST(run_status(self, "nothing") == 0);
    MUST(dup2(out, 1) == 1);
}

static void
no_descriptor_left(void)
{
    struct rlimit few;
    struct stat st;
    char target[256];
    int status = -1;

    MUST(!getrlimit(RLIMIT_NOFILE, &few));
    few.rlim_cur = 24;
    MUST(!setrlimit(RLIMIT_NOFILE, &few));
    while (open("/etc/passwd", O_RDONLY) >= 0)
        ;
    MUST(errno == EMFILE);
    MUST(!stat("/etc/passwd", &st) && !access("/etc/passwd", R_OK) && !stat(".", &st));
    MUST(readlink("/proc/self/exe", target, sizeof(target)) > 0);
    MUST(!mkdir("made-without", 0700) && !rmdir("made-without"));
    MUST(!chmod("/etc/hostname", 0640) && !rename("/etc/hostname", "/etc/renamed"));
    MUST(open("made-not", O_WRONLY | O_CREAT, 0600) == -1 && errno == EMFILE);
    MUST(stat("made-not", &st) == -1 && !getrlimit(RLIMIT_NOFILE, &few) && few.rlim_cur == 24);
    close(5); /* the program's own loader needs one */
    status = run_status(self, "nothing");
    MUST(status == 0);
}

static void
empty_environment(void)
{
    char *none[] = {NULL}, *arguments[] = {self, "is-empty", NULL};
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        execve(self, arguments, none);
        _exit(127);
    }
    MUST(waitpid(pid, &status, 0) == pid && status == 0);
}

extern char **environ;

static void
is_empty(void)
{
    MUST(!environ || !environ[0]);
    use_files("empty-environment");
    MUST(run_status(self, "nothing") == 0);
}

static void
small_stack(void)
{
    struct rlimit small = {65536, 65536};
    char path[3000];
    size_t length = 0;

    MUST(!setrlimit(RLIMIT_STACK, &small));
    MUST(run_status(self, "nothing") == 0);
    for (int i = 0; i < 300; i++)
        length += (size_t)snprintf(path + length, sizeof(path) - length, "/etc/..");
    snprintf(path + length, sizeof(path) - length, "/etc/passwd");
    MUST(!access(path, R_OK));
    execl(self, self, "on-small-stack", (char *)NULL);
    MUST(!"exec");
}

static void
on_small_stack(void)
{
    struct rlimit limit;

    MUST(!getrlimit(RLIMIT_STACK, &limit) && limit.rlim_cur == 65536);
    use_files("small-stack");
    MUST(run_status(self, "nothing") == 0);
}

/* In a directory that is gone: it can be looked at and left, and nothing made in it. */
static void
removed_directory(void)
{
    char name[4096];
    struct stat st;

    MUST(!mkdir("gone", 0700) && !chdir("gone") && !rmdir("../gone"));
    MUST(getcwd(name, sizeof(name)) == NULL && errno == ENOENT);
    MUST(open("new", O_CREAT | O_WRONLY, 0600) == -1 && errno == ENOENT);
    MUST(!stat("/etc/passwd", &st) && !stat(".", &st) && S_ISDIR(st.st_mode));
    MUST(!chmod(".", 0711) && !stat("./", &st) && (st.st_mode & 0777) == 0711);
    MUST(unlink(".") == -1 && errno == EISDIR && stat("new", &st) == -1 && errno == ENOENT);
    MUST(run_status(self, "nothing") == 0);
    MUST(!stat("./../gone", &st) == 0 && !chdir("..") && !mkdir("gone", 0700) && !rmdir("gone"));
}

static void
nothing(void)
{
    struct stat st;

    MUST(!stat("/etc", &st));
}

static const struct habit {
    const char *name;
    void (*run)(void);
    bool prints; /* else it is a part of another */
} habits[] = {
    {"block-all", block_all, true},
    {"least-signal-stack", on_stack_of_least_size, true},
    {"signal-stacks-of-threads", signal_stacks_of_threads, true},
    {"longjmp", leave_by_longjmp, true},
    {"longjmp-signal-stack", leave_signal_stack, true},
    {"storm", storm, true},
    {"vfork-in-threads", vfork_in_threads, true},
    {"cancel-open", cancel_open, true},
    {"least-thread-stacks", least_thread_stacks, true},
#ifdef __GLIBC__
    {"coroutines", coroutines, true},
#endif
    {"registers", registers, true},
    {"entry", entry, true},
    {"own-trap-filter", own_trap_filter, true},
    {"close-all", close_all, true},
    {"no-descriptor-left", no_descriptor_left, true},
    {"empty-environment", empty_environment, true},
    {"is-empty", is_empty, false},
    {"small-stack", small_stack, true},
    {"on-small-stack", on_small_stack, true},
    {"removed-directory", removed_directory, true},
    {"nothing", nothing, false},
};

int
main(int argc, char **argv)
{
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

    first_argv = argv;
    MUST(argc == 2 && length > 0);
    for (size_t i = 0; i < sizeof(habits) / sizeof(habits[0]); i++) {
        if (strcmp(argv[1], habits[i].name))
            continue;
        habits[i].run();
        if (habits[i].prints)
            puts("ok");
        return 0;
    }
    printf("no habit %s\n", argv[1]);
    return 2;
}
