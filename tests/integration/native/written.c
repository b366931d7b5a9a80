/* What is left of setuid and setgid bits after a write by root, by another user and by the owner.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const ways[] = {"write", "ftruncate", "truncate", "O_TRUNC", "no write"};

static void
change(int way)
{
    int fd;

    if (way == 2) {
        if (truncate("file", 0))
            perror("truncate");
        return;
    }
    fd = open("file", (way == 4 ? O_RDONLY : O_WRONLY) | (way == 3 ? O_TRUNC : 0));
    if (fd < 0)
        perror("open");
    if (way == 0 && write(fd, "x", 1) != 1)
        perror("write");
    if (way == 1 && ftruncate(fd, 0))
        perror("ftruncate");
}

static void
try(int way, unsigned mode, unsigned uid)
{
    struct stat st;

    unlink("file");
    close(open("file", O_CREAT | O_WRONLY, 0600));
    if (chown("file", 1234, 4321) || chmod("file", mode))
        perror("chmod");
    if (!fork()) {
        if (uid && (setgid(uid) || setuid(uid)))
            perror("setuid");
        change(way);
        _exit(0);
    }
    wait(NULL);
    if (stat("file", &st))
        perror("stat");
    printf("%s by %u on %04o: %04o\n", ways[way], uid, mode, st.st_mode & 07777);
    fflush(stdout);
}

int
main(void)
{
    static const unsigned modes[] = {04777, 02777, 06777, 04666, 0777}, users[] = {0, 1234, 65534};

    for (int way = 0; way < 5; way++)
        for (int mode = 0; mode < 5; mode++)
            for (int user = 0; user < 3; user++)
                try(way, modes[mode], users[user]);
    unlink("file");
    return 0;
}
