/* What link and linkat say of every kind of source and target: one line a case, which must be the
 * same with and without an engine. Works in the working directory, which is empty. */
#define _GNU_SOURCE
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

/* What the new name is, and which of the names here is the same file. */
static void
tell_new(const char *what, const char *name)
{
    static const char *const names[] = {"file",       "to-file", "to-folder",
                                        "to-nothing", "fifo",    "socket"};
    struct stat st, other;

    must(!lstat(name, &st), name);
    printf("%s: type %o, %d names", what, st.st_mode & S_IFMT, (int)st.st_nlink);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (!lstat(names[i], &other) && other.st_ino == st.st_ino)
            printf(", %s", names[i]);
    printf("\n");
    must(!unlink(name), "unlink");
}

static void
try_at(const char *what, int from_fd, const char *from, const char *to, int flags)
{
    if (syscall(SYS_linkat, from_fd, from, AT_FDCWD, to, flags))
        printf("%s: %s\n", what, strerrorname_np(errno));
    else
        tell_new(what, to);
}

/* Of a path: by link, and by linkat with and without AT_SYMLINK_FOLLOW. */
static void
try(const char *from, const char *to)
{
    char what[200];

    snprintf(what, sizeof(what), "link %s %s", from, to);
    if (syscall(SYS_link, from, to))
        printf("%s: %s\n", what, strerrorname_np(errno));
    else
        tell_new(what, to);
    snprintf(what, sizeof(what), "linkat %s %s", from, to);
    try_at(what, AT_FDCWD, from, to, 0);
    snprintf(what, sizeof(what), "linkat, followed, %s %s", from, to);
    try_at(what, AT_FDCWD, from, to, AT_SYMLINK_FOLLOW);
}

static void
populate(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
    int fd = open("file", O_WRONLY | O_CREAT, 0644), s = socket(AF_UNIX, SOCK_STREAM, 0);

    must(fd >= 0 && !close(fd), "file");
    must(s >= 0 && !bind(s, (struct sockaddr *)&address, sizeof(address)), "socket");
    must(!mkdir("folder", 0755) && !mkfifo("fifo", 0644), "folder");
    must(!symlink("file", "to-file") && !symlink("folder", "to-folder") &&
             !symlink("nothing", "to-nothing") && !symlink("loop", "loop") &&
             !symlink("to-file", "to-to-file") && !symlink("file/", "to-file-slash"),
         "symlink");
}

static void
by_descriptor(void)
{
    int fd = open("file", O_RDONLY), path = open("to-file", O_PATH | O_NOFOLLOW);
    int folder = open("folder", O_RDONLY | O_DIRECTORY),
        nameless = open(".", O_TMPFILE | O_RDWR, 0644);
    int gone, shut = open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600);
    char name[40];

    must(fd >= 0 && path >= 0 && folder >= 0 && nameless >= 0 && shut >= 0, "open");
    gone = open("gone", O_RDWR | O_CREAT, 0644);
    must(gone >= 0 && !unlink("gone"), "gone");
    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    try_at("descriptor by /proc, followed", AT_FDCWD, name, "new", AT_SYMLINK_FOLLOW);
    try_at("descriptor by /proc", AT_FDCWD, name, "new", 0);
    snprintf(name, sizeof(name), "/proc/self/fd/%d", nameless);
    try_at("nameless by /proc, followed", AT_FDCWD, name, "new", AT_SYMLINK_FOLLOW);
    snprintf(name, sizeof(name), "/proc/self/fd/%d", shut);
    try_at("nameless for good", AT_FDCWD, name, "new", AT_SYMLINK_FOLLOW);
    snprintf(name, sizeof(name), "/proc/self/fd/%d", gone);
    try_at("without a name any more", AT_FDCWD, name, "new", AT_SYMLINK_FOLLOW);
    snprintf(name, sizeof(name), "/proc/self/fd/%d", path);
    try_at("symlink by /proc, followed", AT_FDCWD, name, "new", AT_SYMLINK_FOLLOW);
    snprintf(name, sizeof(name), "/proc/self/fd/%d", folder);
    try_at("folder by /proc, followed", AT_FDCWD, name, "new", AT_SYMLINK_FOLLOW);
    try_at("below a folder", folder, "../file", "new", 0);
    try_at("below a file", fd, "file", "new", 0);
    try_at("below no descriptor", 99, "file", "new", 0);
    try_at("empty path", folder, "", "new", 0);
    try_at("unknown flag", AT_FDCWD, "file", "new", 1);
}

int
main(void)
{
    static const char *const from[] = {"file",
                                       "file/",
                                       "folder",
                                       "folder/",
                                       "to-file",
                                       "to-file/",
                                       "to-folder",
                                       "to-folder/",
                                       "to-nothing",
                                       "to-to-file",
                                       "to-nothing/",
                                       "to-file-slash",
                                       "loop",
                                       "fifo",
                                       "socket",
                                       "absent",
                                       "",
                                       "folder/../to-file",
                                       "folder/..",

                                       "."};
    static const char *const to[] = {"new",      "new/", "absent/new", "to-nothing", "file",
                                     "folder/.", ""};

    populate();
    for (size_t i = 0; i < sizeof(from) / sizeof(from[0]); i++)
        try(from[i], "new");
    for (size_t i = 0; i < sizeof(to) / sizeof(to[0]); i++) {
        try("file", to[i]);
        try("to-file", to[i]);
        try("absent", to[i]);
        try("folder", to[i]);
    }
    try("folder/../file", "folder/new");
    try("to-file", "to-folder/new");
    by_descriptor();
    return 0;
}
