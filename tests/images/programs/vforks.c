/* Starts a program many times by vfork: the child borrows its parent's memory and leaves it by
 * exec.
 *
 * usage: vforks COUNT PROGRAM [ARGUMENT...]     prints "vforks COUNT failures 0" */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int
run_once(char **command)
{
    int status = -1;
    pid_t pid = vfork();

    if (pid == 0) {
        execvp(command[0], command);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return -1;
    return status;
}

int
main(int argc, char **argv)
{
    int count = argc > 2 ? atoi(argv[1]) : 0, failures = 0;

    if (argc < 3)
        return 2;
    for (int i = 0; i < count; i++)
        failures += run_once(argv + 2) != 0;
    printf("vforks %d failures %d\n", count, failures);
    return failures != 0;
}
