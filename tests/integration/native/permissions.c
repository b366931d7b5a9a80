/* What a program may do that was root and is another user now: one line a case, the same for a real
 * root and for an emulated one. Works in the working directory, which is empty. */
#define _GNU_SOURCE
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

#define ANNA  1234
#define GROUP 777 /* one that she is in */
#define OTHER 4321

static const mode_t modes[] = {0000, 0400, 0040, 0004, 0600, 0060, 0006, 0200, 0020,
                               0002, 0100, 0010, 0001, 0500, 0050, 0005, 0300, 0030,
                               0003, 0700, 0070, 0007, 0077, 0707, 0777};
static const struct owner {
    const char *name;
    uid_t user;
    gid_t group;
} owners[] = {{"hers", ANNA, OTHER}, {"group's", OTHER, GROUP}, {"others'", OTHER, OTHER}};

static int open_folder, open_file;

static const char *
answer(long r)
{
    return r < 0 ? strerrorname_np(errno) : "ok";
}

static void
make_file(const char *name, const struct owner *o, mode_t mode)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    must(fd >= 0 && write(fd, "text", 4) == 4 && !close(fd), name);
    setxattr(name, "user.x", "1", 1, 0); /* some file systems have none */
    must(!chown(name, o->user, o->group) && !chmod(name, mode), name);
}

static void
make_folder(const char *name, const struct owner *o, mode_t mode)
{
    char path[100];

    must(!mkdir(name, 0700), name);
    snprintf(path, sizeof(path), "%s/file", name);
    make_file(path, &owners[2], 0666);
    snprintf(path, sizeof(path), "%s/mine", name);
    make_file(path, &owners[0], 0644);
    snprintf(path, sizeof(path), "%s/folder", name);
    must(!mkdir(path, 0777) && !chmod(path, 0777), path);
    must(!chown(name, o->user, o->group) && !chmod(name, mode), name);
}

/* ---- as the user ---- */

static long
opens(const char *path, int flags)
{
    int fd = open(path, flags, 0644);

    if (fd < 0)
        return -1;
    return close(fd);
}

static long
executes(const char *path)
{
    char *const argv[] = {(char *)"x", NULL};
    int status;
    pid_t pid = vfork();

    if (!pid) {
        execve(path, argv, argv + 1);
        _exit(errno);
    }
    must(waitpid(pid, &status, 0) == pid, "wait");
    errno = WEXITSTATUS(status);
    return -1; /* a text is no program: ENOEXEC where it may be executed */
}

static void
use_file(const char *path, const char *what)
{
    struct timespec now[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}}, then[2] = {{1, 0}, {1, 0}},
                    omit[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
    char value[8];
    int watch = inotify_init();

    printf("%s: read %s", what, answer(opens(path, O_RDONLY)));
    printf(", write %s", answer(opens(path, O_WRONLY)));
    printf(", both %s", answer(opens(path, O_RDWR)));
    printf(", append %s", answer(opens(path, O_WRONLY | O_APPEND | O_CREAT)));
    printf(", cut %s", answer(opens(path, O_RDONLY | O_TRUNC)));
    printf(", O_PATH %s", answer(opens(path, O_PATH)));
    printf(", truncate %s", answer(truncate(path, 3)));
    printf(", execute %s", answer(executes(path)));
    printf(", access %s", answer(access(path, R_OK | W_OK)));
    printf(", touch %s", answer(utimensat(AT_FDCWD, path, NULL, 0)));
    printf(", now %s", answer(utimensat(AT_FDCWD, path, now, 0)));
    printf(", then %s", answer(utimensat(AT_FDCWD, path, then, 0)));
    if (!access(path, F_OK))
        printf(", omit %s", answer(utimensat(AT_FDCWD, path, omit, 0)));
    printf(", utime %s", answer(utime(path, NULL)));
    printf(", chmod %s", answer(chmod(path, 0)));
    printf(", watch %s", answer(inotify_add_watch(watch, path, IN_MODIFY)));
    printf(", getxattr %s", answer(getxattr(path, "user.x", value, sizeof(value))));
    printf(", setxattr %s\n", answer(setxattr(path, "user.x", "2", 1, 0)));
    close(watch);
}

static void
use_folder(const char *name, const char *what)
{
    char file[64], mine[64], fresh[64], folder[64], up[64];
    struct stat st;

    snprintf(file, sizeof(file), "%s/file", name);
    snprintf(mine, sizeof(mine), "%s/mine", name);
    snprintf(fresh, sizeof(fresh), "%s/fresh", name);
    snprintf(folder, sizeof(folder), "%s/folder", name);
    snprintf(up, sizeof(up), "%s/../free", name);
    printf("%s: list %s", what, answer(opens(name, O_RDONLY | O_DIRECTORY)));
    printf(", enter %s", answer(chdir(name)));
    must(!chdir(".."), ".."); /* not from where it could not go */
    printf(", stat %s", answer(stat(file, &st)));
    printf(", dots %s", answer(stat(up, &st)));
    printf(", read %s", answer(opens(file, O_RDONLY)));
    printf(", create %s", answer(opens(fresh, O_WRONLY | O_CREAT | O_EXCL)));
    printf(", missing %s", answer(opens(fresh, O_RDONLY)));
    printf(", mkdir there %s", answer(mkdir(folder, 0755)));
    printf(", nameless %s", answer(opens(name, O_TMPFILE | O_WRONLY)));
    unlink(fresh);
    printf(", mkdir %s", answer(mkdir(fresh, 0755)));
    printf(", rmdir %s", answer(rmdir(fresh)));
    printf(", symlink %s", answer(symlink("x", fresh)));
    printf(", readlink %s", answer(readlink(fresh, up, sizeof(up))));
    unlink(fresh);
    printf(", mkfifo %s", answer(mkfifo(fresh, 0644)));
    unlink(fresh);
    printf(", bind %s", answer(binds(fresh)));
    unlink(fresh);
    printf(", link %s", answer(link("free/file", fresh)));
    unlink(fresh);
    printf(", rename in %s", answer(rename(mine, fresh)));
    printf(", rename out %s", answer(rename(file, "free/out")));
    printf(", rename onto %s", answer(rename("free/spare", fresh)));
    printf(", remove %s", answer(unlink(mine)));
    printf(", remove another's %s", answer(unlink(file)));
    printf(", rmdir full %s", answer(rmdir(name)));
    printf(", move %s\n", answer(rename(name, "free/moved")));
}

/* ---- */

static void
become_anna(unsigned long capabilities)
{
    const gid_t group = GROUP;
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {
        {(unsigned)capabilities, (unsigned)capabilities, 0},
        {(unsigned)(capabilities >> 32), (unsigned)(capabilities >> 32), 0}};

    must(!prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "keepcaps");
    must(!setgroups(1, &group) && !setresgid(ANNA, ANNA, ANNA) && !setresuid(ANNA, ANNA, ANNA),
         "setresuid");
    must(!syscall(SYS_capset, &header, data), "capset");
}

static void
as_anna(void (*use)(const char *, const char *), const char *name, const char *what,
        unsigned long capabilities)
{
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (!pid) {
        become_anna(capabilities);
        use(name, what);
        fflush(stdout);
        _exit(0);
    }
    must(waitpid(pid, NULL, 0) == pid, "wait");
}

static void
free_folder(void)
{
    if (access("free", F_OK)) {
        must(!mkdir("free", 0777) && !chmod("free", 0777), "free");
        make_file("free/file", &owners[0], 0666);
        must(!mkdir("free/folder", 0777), "free/folder");
    }
    unlink("free/out");
    make_file("free/spare", &owners[0], 0644);
}

/* Every mode and owner, each in a fresh folder of its own. */
static void
all(int folders, unsigned long capabilities, const char *with)
{
    static int number;

    for (size_t m = 0; m < sizeof(modes) / sizeof(modes[0]); m++)
        for (size_t o = 0; o < sizeof(owners) / sizeof(owners[0]); o++) {
            char name[32], what[80];

            snprintf(name, sizeof(name), "n%d", number++);
            snprintf(what, sizeof(what), "%s %04o %s%s", folders ? "folder" : "file", modes[m],
                     owners[o].name, with);
            if (folders) {
                free_folder();
                make_folder(name, &owners[o], modes[m]);
                as_anna(use_folder, name, what, capabilities);
            } else {
                make_file(name, &owners[o], modes[m]);
                as_anna(use_file, name, what, capabilities);
            }
        }
}

static void
sticky(unsigned long capabilities)
{
    for (size_t o = 0; o < sizeof(owners) / sizeof(owners[0]); o++) {
        char name[32], what[64];

        snprintf(name, sizeof(name), "sticky%zu-%lx", o, capabilities);
        snprintf(what, sizeof(what), "sticky folder %s with %lx", owners[o].name, capabilities);
        free_folder();
        make_folder(name, &owners[o], 01777);
        as_anna(use_folder, name, what, capabilities);
    }
}

/* By descriptors that root has opened. */
static void
use_open(const char *name, const char *what)
{
    struct timespec then[2] = {{1, 0}, {1, 0}};
    char value[8];

    (void)name;
    printf("%s: fchdir %s", what, answer(fchdir(open_folder)));
    printf(", write %s", answer(write(open_file, "x", 1)));
    printf(", fchmod %s", answer(fchmod(open_file, 0600)));
    printf(", fchown %s", answer(fchown(open_file, ANNA, -1)));
    printf(", touch %s", answer(futimens(open_file, NULL)));
    printf(", then %s", answer(futimens(open_file, then)));
    printf(", fgetxattr %s", answer(fgetxattr(open_file, "user.x", value, sizeof(value))));
    printf(", fsetxattr %s", answer(fsetxattr(open_file, "user.x", "2", 1, 0)));
    printf(", ftruncate %s\n", answer(ftruncate(open_file, 0)));
}

static void
open_by_root(mode_t mode)
{
    char folder[32], file[32], what[64];

    for (size_t o = 0; o < sizeof(owners) / sizeof(owners[0]); o++) {
        snprintf(folder, sizeof(folder), "folder-%o-%zu", mode, o);
        snprintf(file, sizeof(file), "file-%o-%zu", mode, o);
        snprintf(what, sizeof(what), "open, %04o %s", mode, owners[o].name);
        make_folder(folder, &owners[o], mode);
        make_file(file, &owners[o], mode);
        open_folder = open(folder, O_RDONLY | O_DIRECTORY);
        open_file = open(file, O_RDWR);
        must(open_folder >= 0 && open_file >= 0, what);
        as_anna(use_open, file, what, 0);
        close(open_folder);
        close(open_file);
    }
}

/* By a descriptor that leads to a file which may not be opened. */
static void
use_descriptors(const char *name, const char *what)
{
    char link[64];
    int fd = open(name, O_PATH);

    (void)what;
    must(fd >= 0, name);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    printf("by /proc: read %s", answer(opens(link, O_RDONLY)));
    printf(", write %s", answer(opens(link, O_WRONLY)));
    printf(", truncate %s", answer(truncate(link, 0)));
    printf(", execute %s\n", answer(executes(link)));
}

static void
descriptors(void)
{
    make_file("closed", &owners[2], 0600);
    make_file("seen", &owners[2], 0644);
    as_anna(use_descriptors, "closed", "", 0);
    as_anna(use_descriptors, "seen", "", 0);
}

int
main(void)
{
    umask(022);
    if (geteuid()) {
        printf("not root\n");
        return 0;
    }
    must(!chmod(".", 0777), "chmod");
    all(0, 0, "");
    all(1, 0, "");
    all(0, 1ul << CAP_DAC_READ_SEARCH, " with CAP_DAC_READ_SEARCH");
    all(1, 1ul << CAP_DAC_READ_SEARCH, " with CAP_DAC_READ_SEARCH");
    all(0, 1ul << CAP_DAC_OVERRIDE, " with CAP_DAC_OVERRIDE");
    all(1, 1ul << CAP_DAC_OVERRIDE, " with CAP_DAC_OVERRIDE");
    all(0, 1ul << CAP_FOWNER, " with CAP_FOWNER");
    sticky(0);
    sticky(1ul << CAP_DAC_OVERRIDE);
    sticky(1ul << CAP_FOWNER);
    descriptors();
    open_by_root(0000);
    open_by_root(0750);
    open_by_root(0777);
    return 0;
}
