/* Children that ask to be traced, in this pid namespace and, for root, as the first of a new one,
 * where nobody inside can see their parent: one line a case, which must be the same with and
 * without an engine. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char *const words[] = {(char *)"again", NULL};
static char *const no_environment[] = {NULL};

/* How the child @pid ends, and at which signals it stopped; those of our traps are ours alone. */
static void
follow(const char *what, pid_t pid)
{
    int status = 0;

    printf("%s:", what);
    if (pid < 0) {
        printf(" %s\n", strerrorname_np(errno));
        return;
    }
    for (;;) {
        int sig = 0;

        if (waitpid(pid, &status, 0) != pid)
            break;
        if (!WIFSTOPPED(status))
            break;
        sig = WSTOPSIG(status);
        if (sig != SIGSYS)
            printf(" stopped by %s,", sigabbrev_np(sig));
        ptrace(PTRACE_CONT, pid, NULL, sig == SIGSYS ? SIGSYS : 0);
    }
    if (WIFEXITED(status))
        printf(" exit %d\n", WEXITSTATUS(status));
    else
        printf(" signal %s\n", sigabbrev_np(WTERMSIG(status)));
    fflush(stdout);
}

static void
by_vfork(const char *what)
{
    pid_t pid = vfork();

    if (!pid) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        access("/", R_OK);
        execve("/proc/self/exe", words, no_environment);
        _exit(99);
    }
    follow(what, pid);
}

/* It stops itself before it executes, as sandboxes do. */
static void
by_fork(const char *what)
{
    pid_t pid = fork();

    if (!pid) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        access("/", R_OK);
        execve("/proc/self/exe", words, no_environment);
        _exit(99);
    }
    follow(what, pid);
}

/* The next child is the first process of a namespace. */
static int
leave_namespace(void)
{
    if (!unshare(CLONE_NEWPID))
        return 1;
    printf("no namespace: %s\n", strerrorname_np(errno));
    return 0;
}

int
main(int argc, char **argv)
{
    (void)argc;
    if (!strcmp(argv[0], "again"))
        return 7;
    alarm(30); /* a hang is an answer too */
    by_vfork("vfork");
    by_fork("fork");
    fflush(stdout);
    if (!fork()) {
        if (leave_namespace())
            by_fork("fork, first of a namespace");
        return 0;
    }
    wait(NULL);
    if (leave_namespace())
        by_vfork("vfork, first of a namespace");
    return 0;
}
