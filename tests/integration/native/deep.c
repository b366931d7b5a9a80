/* A folder deeper than a path can say, made and left by steps: one line a case, the same with and
 * without an engine. Works in the working directory. */
#define _GNU_SOURCE
#include "common.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif

#define DEPTH 60 /* folders of 100 bytes */
#define FAR   30 /* steps of one path */

static char name[101];

static void
tell(const char *what, long r)
{
    printf("%s: %s\n", what, r < 0 ? strerrorname_np(errno) : "ok");
}

static long
put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0644);
    long n = fd < 0 ? -1 : write(fd, text, strlen(text));

    if (fd >= 0)
        close(fd);
    return n;
}

static void
show(const char *path)
{
    char text[64] = "";
    int fd = open(path, O_RDONLY);
    long n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    printf("%s: %s\n", path, n < 0 ? strerrorname_np(errno) : text);
    if (fd >= 0)
        close(fd);
}

static void
list(const char *path)
{
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, alphasort);

    printf("list %s:", path);
    for (int i = 0; i < n; i++)
        printf(" %.12s", entries[i]->d_name);
    printf(" %s\n", n < 0 ? strerrorname_np(errno) : "");
}

static long
executes(const char *path)
{
    char *const words[] = {(char *)path, (char *)"deep", NULL};
    int status;
    pid_t pid;

    fflush(stdout);
    pid = vfork();
    if (!pid) {
        execv(path, words);
        _exit(errno);
    }
    must(waitpid(pid, &status, 0) == pid, "wait");
    errno = WEXITSTATUS(status);
    return errno ? -1 : 0;
}

/* What can be done in the working directory. */
static void
use(void)
{
    char buf[8192], link[16];
    struct stat st, up;
    int fd;

    printf("getcwd: %s\n",
           syscall(SYS_getcwd, buf, sizeof(buf)) < 0 ? strerrorname_np(errno) : "ok");
    printf("getcwd of the library: %s\n",
           getcwd(buf, sizeof(buf)) && strlen(buf) > DEPTH * sizeof(name) ? "all" : "not all");
    tell("stat", stat(".", &st));
    tell("stat up", stat("..", &up));
    printf("names: %d\n", (int)st.st_nlink);
    tell("create", put("file", "text"));
    show("file");
    show("./file");
    tell("missing", open("absent", O_RDONLY));
    tell("append", put("file", "TEXT"));
    show("file");
    tell("exclusive", open("file", O_CREAT | O_EXCL | O_WRONLY, 0600));
    tell("symlink", symlink("file", "link"));
    tell("symlink to an absolute path", symlink("/proc/self/comm", "absolute"));
    printf("readlink: %zd\n", readlink("link", link, sizeof(link)));
    show("link");
    show("absolute");
    tell("link", linkat(AT_FDCWD, "file", AT_FDCWD, "second", 0));
    tell("rename", rename("second", "third"));
    tell("mkdir", mkdir("folder", 0755));
    tell("mkdir again", mkdir("folder", 0755));
    tell("file in folder", put("folder/in", "in"));
    show("folder/../file");
    show("folder/in");
    tell("exchange", renameat2(AT_FDCWD, "third", AT_FDCWD, "folder", RENAME_EXCHANGE));
    tell("exchange back", renameat2(AT_FDCWD, "third", AT_FDCWD, "folder", RENAME_EXCHANGE));
    tell("mkfifo", mkfifo("fifo", 0600));
    tell("bind", binds("socket"));
    tell("chmod", chmod("file", 0600));
    tell("chown", chown("file", getuid(), getgid()));
    tell("utimes", utimensat(AT_FDCWD, "file", NULL, 0));
    tell("truncate", truncate("file", 2));
    tell("setxattr", setxattr("file", "user.x", "1", 1, 0));
    tell("access", access("file", R_OK | W_OK));
    tell("access to execute", access("file", X_OK));
    tell("nameless", open(".", O_TMPFILE | O_WRONLY, 0600));
    list(".");
    fd = open("folder", O_RDONLY | O_DIRECTORY);
    tell("open folder", fd);
    tell("openat", openat(fd, "in", O_RDONLY));
    tell("openat up", openat(fd, "../file", O_RDONLY));
    tell("mkdirat", mkdirat(fd, "sub", 0755));
    tell("fstatat", fstatat(fd, "sub", &st, 0));
    tell("unlinkat", unlinkat(fd, "sub", AT_REMOVEDIR));
    tell("fchdir", fchdir(fd));
    show("in");
    show("../file");
    tell("chdir up", chdir(".."));
    tell("rmdir full", rmdir("folder"));
    tell("unlink", unlink("folder/in"));
    tell("rmdir", rmdir("folder"));
    tell("execute", executes("/proc/self/exe"));
    tell("execute what is no program", executes("./file"));
}

static void
remove_all(const char *folder)
{
    char *const paths[] = {(char *)folder, NULL};
    FTS *tree = fts_open(paths, FTS_PHYSICAL, NULL);
    int folders = 0, others = 0;
    FTSENT *e;

    must(tree != NULL, "fts_open");
    while ((e = fts_read(tree))) {
        if (e->fts_info == FTS_D)
            continue;
        if (e->fts_info == FTS_DP)
            folders += !rmdir(e->fts_accpath);
        else
            others += !unlink(e->fts_accpath);
    }
    fts_close(tree);
    printf("removed: %d folders, %d others\n", folders, others);
}

int
main(int argc, char **argv)
{
    char path[FAR * 101 + 8] = "";
    int top, deepest = -1, at = 0;

    if (argc > 1) {
        show("file");
        return 0;
    }
    (void)argv;
    memset(name, 'd', sizeof(name) - 1);
    must(!mkdir("here", 0755) && !chdir("here"), "here");
    top = open(".", O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < DEPTH; i++)
        if (mkdir(name, 0755) || chdir(name)) {
            printf("step %d: %s\n", i, strerrorname_np(errno));
            break;
        }
    use();
    deepest = open(".", O_RDONLY | O_DIRECTORY);
    tell("hold it", deepest);
    for (int i = 0; i < DEPTH; i++)
        if (chdir("..")) {
            printf("step up %d: %s\n", i, strerrorname_np(errno));
            break;
        }
    printf("at the top: %s\n", access(name, F_OK) ? "no" : "yes");
    for (int i = 0; i < FAR; i++)
        at += snprintf(path + at, sizeof(path) - (size_t)at, "%s%s", i ? "/" : "", name);
    tell("far", chdir(path));
    tell("further", chdir(path));
    show("file");
    tell("back by descriptor", fchdir(deepest));
    show("file");
    tell("out by descriptor", fchdir(top));
    show("file");
    tell("openat from the top", openat(deepest, "file", O_RDONLY));
    remove_all(name);
    list(".");
    return 0;
}
