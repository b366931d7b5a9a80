/* What openat2 says: of flags, modes and sizes that are wrong, and of each RESOLVE_ flag for paths
 * that lead up, away and through links. One line a case, which must be the same with and without an
 * engine. Works in the working directory, which is empty. */
#define _GNU_SOURCE
#include "common.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static const struct {
    const char *name;
    unsigned long long flags;
} resolves[] = {
    {"none", 0},
    {"BENEATH", RESOLVE_BENEATH},
    {"IN_ROOT", RESOLVE_IN_ROOT},
    {"NO_SYMLINKS", RESOLVE_NO_SYMLINKS},
    {"NO_MAGICLINKS", RESOLVE_NO_MAGICLINKS},
    {"BENEATH|NO_SYMLINKS", RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS},
    {"BENEATH|NO_XDEV", RESOLVE_BENEATH | RESOLVE_NO_XDEV},
    {"IN_ROOT|NO_MAGICLINKS", RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS},
    {"IN_ROOT|NO_XDEV", RESOLVE_IN_ROOT | RESOLVE_NO_XDEV},
    {"BENEATH|IN_ROOT", RESOLVE_BENEATH | RESOLVE_IN_ROOT},
};

static const char *const paths[] = {
    "sub/f",     "in/f",    "in",      "up/outside", "../outside",
    "..",        ".",       "sub/..",  "in/..",      "in/../..",
    "rooted",    "/sub/f",  "/",       "/..",        "sub/../../top/sub/f",
    "magic",     "magic/f", "fd",      "loop",       "missing",
    "missing/x", "sub/f/",  "sub/f/x", "dangling",   "around",
    "deep/down", "",
};

static void
tell(const char *what, const char *path, long fd)
{
    struct stat st;

    printf("%s %s: ", what, path);
    if (fd < 0) {
        printf("%s\n", strerrorname_np(errno));
        return;
    }
    must(!fstat((int)fd, &st), "fstat");
    printf("type %o, %ld bytes\n", st.st_mode & S_IFMT, S_ISREG(st.st_mode) ? (long)st.st_size : 0);
    close((int)fd);
}

static void
try(int top, const char *kind, const char *path, unsigned long long flags, unsigned i)
{
    struct open_how how = {.flags = flags, .resolve = resolves[i].flags};
    char what[80];

    if (flags & O_CREAT)
        how.mode = 0644;
    snprintf(what, sizeof(what), "%s %s", resolves[i].name, kind);
    tell(what, path, syscall(SYS_openat2, top, path, &how, sizeof(how)));
}

static void
make(void)
{
    must(!mkdir("top", 0755) && !mkdir("top/sub", 0755) && !mkdir("top/deep", 0755), "mkdir");
    close(open("outside", O_CREAT | O_WRONLY, 0644));
    must(write(open("top/sub/f", O_CREAT | O_WRONLY, 0644), "1234567", 7) == 7, "write");
    must(!symlink("sub", "top/in") && !symlink("..", "top/up") &&
             !symlink("/sub/f", "top/rooted") && !symlink("loop", "top/loop") &&
             !symlink("sub/new", "top/dangling") && !symlink("../top/sub/f", "top/around") &&
             !symlink("../sub/f", "top/deep/down") && !symlink("/proc/self/cwd", "top/magic") &&
             !symlink("/proc/self/fd/0", "top/fd"),
         "symlink");
}

static void
wrong(const char *what, struct open_how how, size_t size, unsigned long tail)
{
    struct {
        struct open_how how;
        unsigned long tail;
    } both = {how, tail};

    tell(what, "top/sub/f", syscall(SYS_openat2, AT_FDCWD, "top/sub/f", &both, size));
    tell(what, "missing", syscall(SYS_openat2, AT_FDCWD, "missing", &both, size));
}

static void
try_wrong(void)
{
    const size_t size = sizeof(struct open_how);

    wrong("all flags", (struct open_how){.flags = -1}, size, 0);
    wrong("flag of no call", (struct open_how){.flags = 1ULL << 40}, size, 0);
    wrong("mode without O_CREAT", (struct open_how){.mode = 0644}, size, 0);
    wrong("mode too large", (struct open_how){.flags = O_CREAT, .mode = 0x10644}, size, 0);
    wrong("resolve of no call", (struct open_how){.resolve = 1 << 20}, size, 0);
    wrong("too small", (struct open_how){0}, size - 1, 0);
    wrong("something behind", (struct open_how){0}, size + 8, 7);
    wrong("zeros behind", (struct open_how){0}, size + 8, 0);
    wrong("no more than a path", (struct open_how){.flags = O_PATH | O_WRONLY}, size, 0);
    wrong("cached, made", (struct open_how){.flags = O_CREAT, .mode = 0600, .resolve = 32}, size,
          0);
    tell("bad pointer", "top", syscall(SYS_openat2, AT_FDCWD, "top", 8, size));
    tell("bad folder", "f", syscall(SYS_openat2, 99, "f", &(struct open_how){.resolve = 8}, size));
}

int
main(void)
{
    int top;

    make();
    top = open("top", O_PATH | O_DIRECTORY);
    must(top >= 0 && !dup2(open("outside", O_RDONLY), 0), "open");
    for (unsigned i = 0; i < sizeof(resolves) / sizeof(resolves[0]); i++)
        for (unsigned j = 0; j < sizeof(paths) / sizeof(paths[0]); j++) {
            try(top, "read", paths[j], O_RDONLY, i);
            try(top, "nofollow", paths[j], O_PATH | O_NOFOLLOW, i);
            try(top, "write", paths[j], O_WRONLY | O_CREAT, i);
            unlink("top/sub/new");
            unlink("top/missing");
            unlink("sub/f");
        }
    try_wrong();
    return 0;
}
