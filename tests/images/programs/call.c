/* Makes one system call, raw, and prints its result: the libc under it has no say.
 *
 * usage: call NUMBER ARGUMENT...     an argument is
 *   123, -100, 0x10    a number
 *   s:TEXT             the address of TEXT
 *   b:SIZE             the address of SIZE zero bytes; printed afterwards up to the first NUL
 *   f:FLAGS:PATH       a descriptor: PATH opened with these flags (octal as in open(2))
 * prints "RESULT ERRNO MESSAGE" and a line per buffer. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARGUMENTS_MAX 6

static long
argument_value(const char *text, char **buffer)
{
    char *path;

    if (strncmp(text, "s:", 2) == 0)
        return (long)(text + 2);
    if (strncmp(text, "b:", 2) == 0) {
        *buffer = calloc(1, strtoul(text + 2, NULL, 0) + 1);
        return (long)*buffer;
    }
    if (strncmp(text, "f:", 2) == 0) {
        int flags = (int)strtol(text + 2, &path, 0);

        return open(path + 1, flags, 0644);
    }
    return strtol(text, NULL, 0);
}

int
main(int argc, char **argv)
{
    long values[ARGUMENTS_MAX] = {0}, result;
    char *buffers[ARGUMENTS_MAX] = {NULL};

    if (argc < 2 || argc > 2 + ARGUMENTS_MAX)
        return 2;
    for (int i = 2; i < argc; i++)
        values[i - 2] = argument_value(argv[i], &buffers[i - 2]);
    errno = 0;
    result = syscall(strtol(argv[1], NULL, 0), values[0], values[1], values[2], values[3],
                     values[4], values[5]);
    printf("%ld %d %s\n", result, errno, errno != 0 ? strerror(errno) : "ok");
    for (int i = 0; i < ARGUMENTS_MAX; i++)
        if (buffers[i] != NULL)
            printf("buffer %d: %s\n", i, buffers[i]);
    return result < 0;
}
