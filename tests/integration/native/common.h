/* What the programs here share. */
#ifndef NATIVE_COMMON_H
#define NATIVE_COMMON_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Of what prepares a case: end the program, and with it the test, when it fails. */
static inline void
must(int ok, const char *what)
{
    if (ok)
        return;
    printf("%s: %s\n", what, strerror(errno));
    exit(1);
}

/* Bind a unix socket to @path. */
static inline long
binds(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int s = socket(AF_UNIX, SOCK_STREAM, 0), r;

    strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
    r = bind(s, (struct sockaddr *)&address, sizeof(address));
    close(s);
    return r;
}

#endif
