/* Names that look like what a union keeps its marks in are names: made, listed, moved, linked, gone
 * into and removed. One line a case, which must be the same with and without an engine. Works in
 * the working directory, which is empty. */
#define _GNU_SOURCE
#include "common.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#define TELL(what, result)                                                                         \
    do {                                                                                           \
        long r_ = (result);                                                                        \
        printf("%s %.40s: %s\n", what, name, r_ >= 0 ? "done" : strerrorname_np(errno));           \
    } while (0)

static int
by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void
list(const char *path)
{
    struct dirent **found;
    int n = scandir(path, &found, NULL, by_name);

    printf("in %.40s:", path);
    for (int i = 0; i < n; i++)
        printf(" %.40s", found[i]->d_name);
    printf("\n");
}

static void
tell_place(const char *name)
{
    char path[4096], link[40];
    int fd = open(".", O_RDONLY);
    ssize_t n;

    must(getcwd(path, sizeof(path)) != NULL, "getcwd");
    printf("inside %.40s: %.60s\n", name, strrchr(path, '/'));
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof(path) - 1);
    path[n < 0 ? 0 : n] = '\0';
    printf("held %.40s: %.60s\n", name, strrchr(path, '/'));
    close(fd);
}

static void
as_file(const char *name)
{
    struct stat st;
    int fd = open(name, O_CREAT | O_EXCL | O_RDWR, 0644);

    TELL("make", fd);
    must(fd < 0 || write(fd, name, 4) == 4, "write");
    close(fd);
    TELL("make again", open(name, O_CREAT | O_EXCL | O_RDWR, 0644));
    TELL("stat", stat(name, &st));
    TELL("chmod", chmod(name, 0600));
    list(".");
    TELL("link", link(name, "other"));
    TELL("move over", rename("other", name));
    unlink("other");
    TELL("move away", rename(name, "moved"));
    TELL("stat", stat(name, &st));
    TELL("move back", rename("moved", name));
    TELL("truncate", truncate(name, 100));
    TELL("unlink", unlink(name));
    TELL("unlink", unlink(name));
    list(".");
    TELL("symlink", symlink("target", name));
    TELL("unlink", unlink(name));
    TELL("fifo", mkfifo(name, 0600));
    TELL("unlink", unlink(name));
    if (strlen(name) < 80) {
        TELL("socket", binds(name));
        TELL("unlink", unlink(name));
    }
}

static void
as_folder(const char *name, const char *inner)
{
    char path[600];

    TELL("mkdir", mkdir(name, 0755));
    TELL("mkdir", mkdir(name, 0755));
    TELL("chdir", chdir(name));
    tell_place(name);
    close(open(inner, O_CREAT | O_WRONLY, 0644));
    TELL("mkdir below", mkdir("sub", 0755));
    TELL("chdir ..", chdir(".."));
    list(name);
    TELL("rmdir", rmdir(name));
    TELL("move", rename(name, "plain"));
    snprintf(path, sizeof(path), "plain/%s", inner);
    TELL("inside", access(path, R_OK));
    TELL("move", rename("plain", name));
    snprintf(path, sizeof(path), "%s/%s", name, inner);
    TELL("inside", unlink(path));
    snprintf(path, sizeof(path), "%s/sub", name);
    TELL("rmdir", rmdir(path));
    TELL("rmdir", rmdir(name));
}

int
main(void)
{
    static char longest[256], longer[257];
    const char *names[] = {".wh.",   ".wh.x",    ".wh",      ".whx",         ".wh..",
                           ".wh...", ".wh..opq", ".wh..wh.", ".wh..wh..opq", ".wh+",
                           ".wh+x",  ".wh=",     ".wh=x",    ".wh=+x",       ".wh==x",
                           ".wh=.x", ".w",       "x.wh.y",   ".wh.+x",       longest};

    must(!mkdir("here", 0755) && !chdir("here"), "here");
    memset(longest, 'n', 255);
    memcpy(longest, ".wh.", 4);
    memset(longer, 'n', 256);
    memcpy(longer, ".wh.", 4);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        as_file(names[i]);
        as_folder(names[i], names[(i + 3) % (sizeof(names) / sizeof(names[0]))]);
    }
    printf("too long: %d\n", mkdir(longer, 0755) ? errno : 0);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        close(open(names[i], O_CREAT | O_WRONLY, 0644));
    list(".");
    return 0;
}
