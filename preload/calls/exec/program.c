/* Finding a program: its file, whether it may be executed, its ELF header and interpreter. */
#include "program.h"

#include "../../base/libc.h"
#include "../../uufs/hostfd.h"
#include "../../uufs/proclink.h"
#include "../../uufs/walk/walk.h"
#include "../fakeroot/cred.h"
#include "../fakeroot/ownership.h"
#include "../fakeroot/permission.h"
#include "../paths/longpath.h"
#include "../paths/resolve.h"
#include "../proc/exe.h"
#include "command.h"

#include <sys/stat.h>

HOT_FILE;

char *
program_room(struct program *p, size_t *cap)
{
    *cap = sizeof(p->room) - p->used;
    return p->room + p->used;
}

const char *
program_keep_text(struct program *p, const char *text)
{
    p->used += strlen(text) + 1;
    return text;
}

const char *
program_copy_text(struct program *p, const char *text)
{
    size_t cap, n = strlen(text) + 1;
    char *at = program_room(p, &cap);

    if (n > cap)
        return NULL;
    memcpy(at, text, n);
    return program_keep_text(p, at);
}

/* A program named by a magic link: /proc/self/fd/N of a memfd or of a file that has no path here.
 * The descriptor may be close-on-exec, so the loader gets a copy that is not. */
static int
take_descriptor(struct program *p, int fd)
{
    long copy = sys3(SYS_fcntl, fd, F_DUPFD, 100);
    size_t len;

    if (copy < 0)
        return (int)copy;
    p->fd = (int)copy;
    len = proc_link_fd((int)copy, p->hit.host);
    p->hit.host_len = (uint32_t)len;
    p->hit.where = UUFS_BIND;
    p->hit.in_union = false;
    p->hit.type = S_IFREG;
    memcpy(p->hit.ctr, p->hit.host, len + 1);
    p->hit.ctr_len = (uint32_t)len;
    return 0;
}

/* Replace a hit on a descriptor by the file behind it where that has a container path. */
COLD static int
follow_descriptor(struct program *p, int fd)
{
    char ctr[LPMX_PATH_MAX];
    bool lower;

    if (!call_fd_path(fd, ctr, sizeof(ctr), &lower) &&
        !uufs_walk(&engine.fs, "/", ctr, UUFS_FOLLOW, &p->hit))
        return 0;
    return take_descriptor(p, fd);
}

static int
magic_descriptor(const char *host)
{
    const char *p = host + strlen(host);
    int fd = 0;

    while (p > host && p[-1] != '/')
        p--;
    for (; *p >= '0' && *p <= '9'; p++)
        fd = fd * 10 + *p - '0';
    return fd;
}

static bool
is_link(const char *host)
{
    struct stat st;

    return !sys4(SYS_newfstatat, AT_FDCWD, host, &st, AT_SYMLINK_NOFOLLOW) && S_ISLNK(st.st_mode);
}

static int
locate(struct program *p, int dirfd, bool follow)
{
    unsigned how = (follow ? UUFS_FOLLOW : 0) | permission_how();
    const char *base = "";
    int err = 0;

    if (p->path[0] != '/') {
        size_t cap;
        char *room = program_room(p, &cap);

        err = call_base(dirfd, room, cap);
        if (err && err != -ENAMETOOLONG)
            return err;
        base = room;
    }
    err = err ? err : uufs_walk(&engine.fs, base, p->path, how, &p->hit);
    if (err == -ENAMETOOLONG && dirfd == AT_FDCWD && p->path[0] != '/')
        err = longpath_walk(dirfd, p->path, how, &p->hit);
    if (err)
        return err;
    if (p->hit.magic && !proc_is_own(p->hit.host))
        return -EACCES;
    if (p->hit.magic)
        return follow_descriptor(p, magic_descriptor(p->hit.host));
    if (p->hit.type == S_IFLNK || (!follow && !p->hit.in_union && is_link(p->hit.host)))
        return -ELOOP;
    return 0;
}

static int
check_permission(const struct program *p)
{
    const struct view_node *n =
        p->hit.where == UUFS_LOWER ? view_node(&engine.fs.view, p->hit.node) : NULL;
    struct stat st;
    long r = permission_check(&p->hit, PERMISSION_EXECUTE);

    if (r)
        return (int)r;
    if (n && S_ISREG(n->mode) && (n->mode & 0111) == 0111) /* anyone may */
        return 0;
    r = sys4(SYS_newfstatat, AT_FDCWD, p->hit.host, &st, 0);
    if (r)
        return (int)r;
    if (!S_ISREG(st.st_mode))
        return -EACCES;
    return (int)sys3(SYS_faccessat, AT_FDCWD, p->hit.host, 1 /* X_OK */);
}

bool
program_is_script(const struct program *p)
{
    return p->file.n >= 2 && p->file.head[0] == '#' && p->file.head[1] == '!';
}

/* The program's first bytes; of an ELF file also the name of its interpreter, at @interp. */
static int
read_head(struct program *p, char *interp, size_t cap)
{
    int err, fd = hostfd_open(p->hit.host, O_RDONLY, 0);

    if (fd < 0)
        return fd;
    err = elf_read_head(&p->file, fd);
    interp[0] = '\0';
    if (!err && !program_is_script(p)) {
        err = elf_check(p->file.head, p->file.n);
        if (!err)
            err = elf_interp(&p->file, interp, cap);
    }
    sys1(SYS_close, fd);
    return err;
}

/* Under root emulation: the credentials that the program in p->hit will have. */
static int
hand_on_credentials(struct program *p)
{
    struct extra_file file = {.path = p->hit.host};
    char caps[32], *text;
    size_t cap;
    long n = 0;

    text = program_room(p, &cap);
    if (cap < CRED_TEXT_MAX)
        return -E2BIG;
    if (extra_file_stat(&file))
        memset(&file.st, 0, sizeof(file.st));
    else if (p->hit.in_union)
        n = extra_get(&engine.fs, &file, "security.capability", caps, sizeof(caps));
    ownership_show(&p->hit, &file.st);
    if (!p->hit.in_union) /* a host's file raises nothing */
        file.st.st_mode &= ~(uint32_t)06000;
    cred_exec_text(&file.st, caps, n, text);
    p->cred = program_keep_text(p, text);
    return 0;
}

/* Keep what the loader has to know of p->hit. */
static int
keep_program(struct program *p)
{
    int err = 0;

    p->interp = p->cred = "";
    if (emulates_root())
        err = hand_on_credentials(p);
    if (err)
        return err;
    p->exe = program_copy_text(p, p->hit.ctr);
    p->host = program_copy_text(p, p->hit.host);
    return p->exe && p->host ? 0 : -E2BIG;
}

/* Is p->hit something to begin a program with? The caller's own interpreter was, if it lies where
 * nothing changes. */
static int
check_interpreter(const struct program *p)
{
    struct elf_file file;
    int err, fd;

    if (p->hit.where == UUFS_LOWER && engine.interp && !strcmp(p->hit.host, engine.interp))
        return 0;
    err = check_permission(p);
    if (err)
        return err;
    fd = hostfd_open(p->hit.host, O_RDONLY, 0);
    if (fd < 0)
        return fd;
    err = elf_read_head(&file, fd);
    if (!err)
        err = elf_check_interp(&file);
    sys1(SYS_close, fd);
    return err;
}

/* Read the head of what was found, and find the interpreter that it may name. */
static int
find_interpreter(struct program *p)
{
    size_t cap;
    char *name = program_room(p, &cap), *base;
    int err = read_head(p, name, cap < LPMX_PATH_MAX ? cap : LPMX_PATH_MAX);

    if (err || !name[0])
        return err;
    program_keep_text(p, name);
    base = program_room(p, &cap);
    base[0] = '\0';
    if (name[0] != '/')
        err = call_base(AT_FDCWD, base, cap);
    if (!err)
        err = uufs_walk(&engine.fs, base, name, UUFS_FOLLOW | permission_how(), &p->hit);
    if (!err)
        err = check_interpreter(p);
    if (err)
        return err;
    p->interp = program_copy_text(p, p->hit.host);
    return p->interp ? 0 : -E2BIG;
}

int
program_find(struct program *p, int dirfd, bool follow)
{
    int err = locate(p, dirfd, follow);

    if (err)
        return err;
    p->command = command_find(&p->hit);
    if (!p->command)
        err = check_permission(p);
    if (!err)
        err = keep_program(p);
    return err || p->command ? err : find_interpreter(p);
}
