/* What a root that lends its files' user id away (setfsuid) may do to files. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

static void
say(const char *what, long r)
{
    printf("%s: %s\n", what, r < 0 ? strerrorname_np(errno) : "ok");
}

static void
try(unsigned user)
{
    setfsuid(user);
    printf("as %u\n", user);
    say("write", open("file", O_WRONLY));
    say("read", open("closed", O_RDONLY));
    say("chmod", chmod("file", 0644));
    say("chown", chown("file", 0, 0));
    say("create", open("new", O_CREAT | O_WRONLY, 0600));
    unlink("new");
    say("device", mknod("device", S_IFCHR | 0600, 1 << 8 | 3));
    unlink("device");
}

int
main(void)
{
    close(open("file", O_CREAT | O_WRONLY, 0644));
    close(open("closed", O_CREAT | O_WRONLY, 0600));
    try(0);
    try(65534);
    try(0);
    return unlink("file") | unlink("closed");
}
