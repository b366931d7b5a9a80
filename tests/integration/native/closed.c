/* Folders that may not be searched: what is said of names and dots in them, and what goes on
 * working for who stands below one or holds a folder there. One line a case, which must be the same
 * with and without an engine. Works in the working directory, which is empty; root becomes another
 * user. */
#define _GNU_SOURCE
#include "common.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#define ANYONE 65534
#define TELL(what, result)                                                                         \
    do {                                                                                           \
        long r_ = (long)(result);                                                                  \
        printf("%s: %s\n", what, r_ >= 0 ? "done" : strerrorname_np(errno));                       \
    } while (0)

static char text[4096];

static void
make_file(const char *name)
{
    int fd = open(name, O_CREAT | O_WRONLY, 0666);

    must(fd >= 0 && write(fd, "text", 4) == 4, name);
    close(fd);
}

/* ---- names in a folder that is closed ---- */

static void
try_path(const char *path)
{
    struct stat st;
    int here = open(".", O_RDONLY | O_DIRECTORY), fd, changed;

    printf("%s\n", path);
    TELL("stat", stat(path, &st));
    TELL("lstat", lstat(path, &st));
    fd = open(path, O_RDONLY);
    TELL("open", fd);
    close(fd);
    TELL("access", access(path, F_OK));
    TELL("readlink", readlink(path, text, sizeof(text)));
    TELL("mkdir", mkdir(path, 0755));
    TELL("unlink", unlink(path));
    TELL("rename", rename(path, "elsewhere"));
    changed = chdir(path);
    TELL("chdir", changed);
    must(changed || !fchdir(here), "back");
    close(here);
}

static void
in_closed(void)
{
    static const char *const paths[] = {"closed/.",      "closed/..",     "closed/../plain",
                                        "closed/./file", "closed/file",   "closed/missing",
                                        "closed/sub",    "closed/sub/..", "closed/sub/x",
                                        "plain/.",       "plain/..",      "plain/../plain"};

    must(!mkdir("closed", 0755) && !mkdir("closed/sub", 0755), "closed");
    make_file("closed/file");
    make_file("plain");
    must(!chmod("closed", 0644), "chmod");
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        try_path(paths[i]);
    must(!chmod("closed", 0755), "chmod");
    try_path("closed/missing");
    must(!mkdir("born", 0600), "born");
    try_path("born/missing");
}

/* ---- in a folder that is closed ---- */

static void
stand_in_closed(void)
{
    int here = open(".", O_RDONLY | O_DIRECTORY);

    must(!mkdir("own", 0755) && !chdir("own"), "own");
    make_file("file");
    must(!chmod(".", 0), "chmod");
    try_path("file");
    try_path("missing");
    try_path(".");
    try_path("./.");
    try_path("..");
    must(!fchdir(here) && !chmod("own", 0755), "back");
    close(here);
}

/* ---- below a folder that is closed ---- */

static void
try_socket(const char *name)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int s = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);

    memcpy(un.sun_path, name, strlen(name));
    TELL("bind", bind(s, (struct sockaddr *)&un, sizeof(un)));
    TELL("listen", listen(s, 1));
    TELL("connect", connect(client, (struct sockaddr *)&un, sizeof(un)));
    close(s);
    close(client);
    TELL("unlink", unlink(name));
}

static void
try_execution(const char *path)
{
    int status = -1;
    pid_t child = fork();

    if (!child) {
        execl(path, path, "run", (char *)NULL);
        _exit(100);
    }
    waitpid(child, &status, 0);
    printf("execute: %d\n", WEXITSTATUS(status));
}

static void
try_names(void)
{
    struct stat st;
    char *names[64] = {NULL};
    DIR *dir;
    int n = 0;

    TELL("stat", stat("file", &st));
    TELL("stat .", stat(".", &st));
    TELL("stat ..", stat("..", &st));
    TELL("stat missing", stat("missing", &st));
    TELL("open", open("file", O_RDONLY));
    TELL("create", open("new", O_CREAT | O_EXCL | O_WRONLY, 0644));
    TELL("append", open("file", O_APPEND | O_WRONLY));
    TELL("link", link("new", "linked"));
    TELL("rename", rename("linked", "sub/moved"));
    TELL("rename over", rename("new", "sub/moved"));
    TELL("unlink", unlink("sub/moved"));
    TELL("symlink", symlink("file", "to-file"));
    TELL("through it", open("to-file", O_RDONLY));
    TELL("readlink", readlink("to-file", text, sizeof(text)));
    TELL("unlink", unlink("to-file"));
    TELL("mkdir", mkdir("made", 0755));
    TELL("mkdir below", mkdir("made/below", 0755));
    TELL("rmdir", rmdir("made"));
    TELL("rename folder", rename("made", "moved"));
    TELL("rmdir", rmdir("moved/below"));
    TELL("rmdir", rmdir("moved"));
    TELL("rmdir", rmdir("moved"));
    TELL("fifo", mkfifo("fifo", 0600));
    TELL("unlink", unlink("fifo"));
    TELL("chmod", chmod("file", 0640));
    TELL("utimes", utimensat(AT_FDCWD, "file", NULL, 0));
    TELL("truncate", truncate("file", 2));
    TELL("access", access("file", R_OK | W_OK));
    TELL("setxattr", setxattr("file", "user.a", "b", 1, 0));
    TELL("getxattr", getxattr("file", "user.a", text, sizeof(text)));
    TELL("a name like a mark", open(".wh.x", O_CREAT | O_WRONLY, 0644));
    dir = opendir(".");
    for (struct dirent *e; dir && n < 64 && (e = readdir(dir));)
        names[n++] = strdup(e->d_name);
    for (const char *const *p =
             (const char *const[]){".", "..", ".wh.x", "file", "run", "sub", NULL};
         *p; p++)
        for (int i = 0; i < n; i++)
            if (!strcmp(names[i], *p))
                printf("listed: %s\n", *p);
    printf("%d names\n", n);
    TELL("unlink it", unlink(".wh.x"));
    TELL("getcwd", getcwd(text, sizeof(text)) ? 0 : -1);
    TELL("chdir .", chdir("."));
    TELL("chdir sub", chdir("sub"));
    TELL("chdir ..", chdir(".."));
    TELL("beside", stat("../beside", &st));
    TELL("through the root", open("/proc/self/status", O_RDONLY));
    try_socket("socket");
    try_execution("./run");
}

static void
try_held(int d)
{
    struct stat st;

    TELL("fstatat", fstatat(d, "file", &st, 0));
    TELL("openat", openat(d, "file", O_RDONLY));
    TELL("create", openat(d, "new", O_CREAT | O_WRONLY, 0644));
    TELL("renameat", renameat(d, "new", d, "newer"));
    TELL("linkat", linkat(d, "newer", AT_FDCWD, "here", 0));
    TELL("unlinkat", unlinkat(d, "newer", 0));
    TELL("unlink here", unlink("here"));
    TELL("mkdirat", mkdirat(d, "made", 0755));
    TELL("rmdir", unlinkat(d, "made", AT_REMOVEDIR));
    TELL("openat ..", openat(d, "..", O_RDONLY));
    TELL("below", fstatat(d, "sub/x", &st, 0));
    TELL("fchdir", fchdir(d));
}

static void
stand_below_closed(bool root)
{
    int held, here = open(".", O_RDONLY | O_DIRECTORY);
    pid_t child;

    must(!mkdir("shut", 0755) && !mkdir("shut/in", 0755) && !mkdir("shut/in/sub", 0755) &&
             !mkdir("other", 0755),
         "shut");
    make_file("shut/in/file");
    make_file("shut/in/sub/x");
    make_file("shut/beside");
    must(!symlink("/proc/self/exe", "shut/in/run"), "run");
    must(!chdir("shut/in"), "chdir");
    held = open(".", O_RDONLY | O_DIRECTORY);
    must(!chmod("..", 0600), "chmod");
    fflush(stdout);
    child = root ? -1 : fork();
    if (child <= 0) {
        puts("worked in");
        try_names();
        must(!fchdir(here) && !chdir("other"), "other");
        puts("held");
        try_held(held);
        fflush(stdout);
    }
    if (!child)
        _exit(0);
    waitpid(child, NULL, 0);
    must(!fchdir(here) && !chmod("shut", 0755), "back");
}

int
main(int argc, char **argv)
{
    bool root = !getuid();

    (void)argv;
    if (argc > 1) /* what is executed above */
        return 7;
    umask(0);
    must(!mkdir("here", 0755) && !chdir("here"), "here");
    must(!root || (!chown(".", ANYONE, ANYONE) && !setgid(ANYONE) && !setuid(ANYONE)), "drop");
    in_closed();
    stand_in_closed();
    stand_below_closed(root);
    return 0;
}
