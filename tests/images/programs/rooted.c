/* What a process sees after chroot(2), one line a fact; the same on every system where it may.
 *
 * usage: rooted DIR      works in DIR, which must be empty */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int outside; /* a descriptor of the directory above the jail */

static void
tell(const char *what, long result)
{
    printf("%s: %s\n", what, result < 0 ? strerror(errno) : "ok");
    fflush(stdout);
}

static void
tell_file(const char *name)
{
    char text[64] = "";
    int fd = open(name, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    printf("%s: %s\n", name, n < 0 ? strerror(errno) : text);
    fflush(stdout);
    close(fd);
}

static void
tell_cwd(const char *what)
{
    char text[4096];

    if (syscall(SYS_getcwd, text, sizeof(text)) < 0)
        tell(what, -1);
    else if (!strncmp(text, "(unreachable)", 13)) /* what follows is where the test ran */
        printf("%s: (unreachable)\n", what);
    else
        printf("%s: %s\n", what, text);
    fflush(stdout);
}

static void
put_file(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY | O_CREAT, 0644);

    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        tell(name, -1);
    close(fd);
}

static void
make_tree(void)
{
    mkdir("jail", 0755);
    mkdir("jail/etc", 0755);
    mkdir("jail/sub", 0755);
    mkdir("jail/sub/inner", 0755);
    mkdir("etc", 0755);
    put_file("etc/name", "outer");
    put_file("jail/etc/name", "jailed");
    put_file("jail/sub/etc-name", "sub");
    symlink("/etc/name", "jail/absolute");
    symlink("../../../../../etc/name", "jail/sub/up");
    symlink("/sub", "jail/dir");
    symlink("/", "jail/sub/top");
}

static void
wait_for(pid_t pid)
{
    int status = -1;

    if (waitpid(pid, &status, 0) != pid || status)
        printf("child: status %x\n", status);
}

static void *
in_thread(void *unused)
{
    tell_file("/etc/name");
    return unused;
}

static void
sockets(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "/sub/socket"}, told = {0};
    socklen_t size = sizeof(told);
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    tell("bind", bind(fd, (struct sockaddr *)&name, sizeof(name)));
    getsockname(fd, (struct sockaddr *)&told, &size);
    printf("socket: %s\n", told.sun_path);
    tell("connect", connect(fd, (struct sockaddr *)&name, sizeof(name)));
    close(fd);
    tell("unlink", unlink("/sub/socket"));
}

/* As Go starts programs: the child shares the memory, and the parent waits. */
static int
move_child(void *where)
{
    if (chroot(where) || chdir("/"))
        _exit(1);
    tell_file("etc-name");
    _exit(0);
}

static void
vfork_child(void)
{
    static char stack[65536];
    pid_t pid = clone(move_child, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, "/sub");

    wait_for(pid);
    tell_file("/etc/name"); /* the parent has stayed */
}

/* The old way out: a directory outside of the new root is still worked in. */
static void
escape(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        tell("fchdir", fchdir(outside));
        tell_cwd("outside");
        tell_file("etc/name");
        tell_file("jail/absolute");
        tell_file("jail/../etc/name");
        tell("chroot out", chroot("."));
        tell_cwd("out");
        tell_file("/etc/name");
        tell_file("/jail/sub/up");
        _exit(0);
    }
    wait_for(pid);
}

static void
refused(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        tell("setuid", setuid(1000));
        tell("absent", chroot("/nothing"));
        tell("file", chroot("/etc/name"));
        tell("user", chroot("/sub"));
        tell_file("/etc/name");
        _exit(0);
    }
    wait_for(pid);
}

int
main(int argc, char **argv)
{
    pthread_t thread;
    struct stat root, above;
    pid_t pid;

    if (argc == 2 && !strcmp(argv[1], "--inside")) {
        tell_file("/etc/name");
        tell_cwd("executed");
        return 0;
    }
    if (argc != 2 || chdir(argv[1]))
        return 2;
    make_tree();
    outside = open(".", O_RDONLY | O_DIRECTORY);
    tell("chroot", chroot("jail"));
    tell_cwd("not yet");
    tell("chdir", chdir("/sub"));
    tell_cwd("cwd");
    tell_file("/etc/name");
    tell_file("/absolute");
    tell_file("up");
    tell_file("../../../etc/name");
    tell_file("/dir/etc-name");
    tell_file("top/etc/name");
    tell_file("/../sub/../../etc/name");
    tell_file("/jail/etc/name");
    tell("stat", stat("/", &root) | stat("/..", &above));
    printf("top: %s\n", root.st_ino == above.st_ino ? "same" : "another");
    tell("chdir", chdir("/dir/inner"));
    tell_cwd("cwd");
    tell("chdir up", chdir("../../../.."));
    tell_cwd("cwd");
    tell("mkdir", mkdir("/made", 0755));
    tell("rename", rename("/made", "/../moved"));
    tell("rmdir", rmdir("/moved"));
    sockets();
    pthread_create(&thread, NULL, in_thread, NULL);
    pthread_join(thread, NULL);
    vfork_child();
    escape();
    refused();
    pid = fork();
    if (pid == 0) {
        execl("/rooted", "rooted", "--inside", (char *)NULL);
        tell("exec", -1);
        fchdir(outside);
        execl("program", "rooted", "--inside", (char *)NULL);
        tell("exec", -1);
        _exit(1);
    }
    wait_for(pid);
    tell("chroot", chroot("sub/inner"));
    tell_file("/etc/name");
    tell_cwd("below");
    return 0;
}
