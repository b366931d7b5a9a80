/* execve inside a container: every program is started by our loader, which maps it and stays as its
 * engine.
 *
 * All that can fail is found out here, in the old image, so that the caller gets the errno a plain
 * exec would give: resolution, permission, `#!` lines, the ELF header, the interpreter. Then the
 * kernel executes the loader with the program's own argv and the environment plus one string, which
 * the loader takes out again. */
#include "exec.h"

#include "../../base/libc.h"
#include "../../base/str.h"
#include "../../engine/elf.h"
#include "../../engine/slots.h"
#include "../../uufs/hostfd.h"
#include "../../uufs/proclink.h"
#include "../../uufs/walk/walk.h"
#include "../fakeroot/cred.h"
#include "../fakeroot/ownership.h"
#include "../fakeroot/permission.h"
#include "../paths/longpath.h"
#include "../paths/resolve.h"
#include "../proc/exe.h"
#include "../program/perform.h"
#include "../program/root.h"
#include "../program/usermem.h"
#include "command.h"
#include "hashbang.h"
#include "ptrace.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

HOT_FILE;

#define MAX_SCRIPTS  5 /* as the kernel's limit of nested interpreters */
#define SIGTRAP_BIT  (1UL << (SIGTRAP - 1))
#define SMALL_VECTOR 2048 /* pointers kept on the handler's stack; more go into a mapping */
#define ROOM         (20 * LPMX_PATH_MAX + SMALL_VECTOR * sizeof(char *))

/* What an execve finds out. Strings lie one behind the other in the room, since each page of the
 * stack that a forked child touches costs it a page fault. */
struct program {
    const char *path;                   /* as executed */
    const char *execfn;                 /* the name first executed */
    const char *exe, *host, *interp;    /* of the program found: see struct exec_state */
    const char *cred;                   /* what root emulation hands on */
    const char *state;                  /* the string for the loader */
    const struct plan_command *command; /* not NULL: it runs elsewhere, see command.c */
    int fd; /* >= 0: a program without a name in the container (memfd), kept open for the loader */
    int from;       /* >= 0: execveat of this very descriptor */
    bool is_traced; /* the kernel's SIGTRAP for its tracer has to wait until it is mapped */
    bool is_lost; /* the name is below a descriptor that the execve closes: no script can be read */
    struct uufs_hit hit; /* of the program, then of its interpreter */
    struct elf_file file;
    size_t used;
    char room[ROOM] __attribute__((aligned(8)));
};

/* Where the next string may be written, and how long it may be. */
static char *
room_at(struct program *p, size_t *cap)
{
    *cap = sizeof(p->room) - p->used;
    return p->room + p->used;
}

/* A string that was written where room_at said stays there. */
static const char *
room_keep(struct program *p, const char *text)
{
    p->used += strlen(text) + 1;
    return text;
}

/* A copy of @text that stays; NULL where there is no room left. */
static const char *
room_copy(struct program *p, const char *text)
{
    size_t cap, n = strlen(text) + 1;
    char *at = room_at(p, &cap);

    if (n > cap)
        return NULL;
    memcpy(at, text, n);
    return room_keep(p, at);
}

/* ---- finding it ---- */

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
        char *room = room_at(p, &cap);

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

static bool
is_script(const struct program *p)
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
    if (!err && !is_script(p)) {
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

    text = room_at(p, &cap);
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
    p->cred = room_keep(p, text);
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
    p->exe = room_copy(p, p->hit.ctr);
    p->host = room_copy(p, p->hit.host);
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
    char *name = room_at(p, &cap), *base;
    int err = read_head(p, name, cap < LPMX_PATH_MAX ? cap : LPMX_PATH_MAX);

    if (err || !name[0])
        return err;
    room_keep(p, name);
    base = room_at(p, &cap);
    base[0] = '\0';
    if (name[0] != '/')
        err = call_base(AT_FDCWD, base, cap);
    if (!err)
        err = uufs_walk(&engine.fs, base, name, UUFS_FOLLOW | permission_how(), &p->hit);
    if (!err)
        err = check_interpreter(p);
    if (err)
        return err;
    p->interp = room_copy(p, p->hit.host);
    return p->interp ? 0 : -E2BIG;
}

static int
find_program(struct program *p, int dirfd, bool follow)
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

/* ---- scripts ---- */

struct script { /* what one #! line adds in front of the arguments */
    const char *interp, *arg, *name;
};

/* The program is a script: @p becomes its interpreter, and the line is kept in @s. */
static int
step_script(struct program *p, struct script *s, bool first)
{
    char head[HASHBANG_SIZE + 1], *interp, *arg;
    size_t n = p->file.n < HASHBANG_SIZE ? p->file.n : HASHBANG_SIZE;
    int err;

    memcpy(head, p->file.head, n);
    memset(head + n, 0, sizeof(head) - n);
    err = hashbang_parse(head, &interp, &arg);
    if (err)
        return err;
    s->interp = room_copy(p, interp);
    s->arg = arg ? room_copy(p, arg) : NULL;
    s->name = first ? p->execfn : p->path;
    p->path = s->interp;
    return !s->interp || (arg && !s->arg) ? -E2BIG : 0;
}

/* ---- executing it ---- */

/* The number of entries of a NULL-terminated vector in the program's memory, or -EFAULT. */
static long
vector_length(char **v)
{
    long n = 0;

    if (!v)
        return 0;
    for (;; n++) {
        if ((n == 0 || !((unsigned long)&v[n] & 4095)) && user_readable(&v[n], sizeof(*v)))
            return -EFAULT;
        if (!v[n])
            return n;
    }
}

/* Execute the loader for @p. Returns only on failure. */
static long
exec_loader(const struct call *c, const struct program *p, char **argv, char **envp)
{
    uint64_t all = ~0UL, mask = *c->mask;
    int *old = NULL;
    long r;

    call_guard_signal_stack(c);
    if (p->is_traced)
        mask |= SIGTRAP_BIT;
    sys4(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &mask, 0, 8);
    if (c->slot >= 0) {
        /* A vfork child runs on its parent's memory and will not come back to free its stack: the
         * kernel zeroes this word, and so frees the stack, when the child leaves the shared memory.
         */
        if (sys2(SYS_prctl, PR_GET_TID_ADDRESS, &old))
            old = NULL;
        sys1(SYS_set_tid_address, slot_word(c->slot));
    }
    ptrace_before_exec();
    root_leave();
    r = sys3(SYS_execve, engine.loader, argv, envp);
    root_stay();
    if (c->slot >= 0)
        sys1(SYS_set_tid_address, old);
    sys4(SYS_rt_sigprocmask, 2, &all, 0, 8);
    return r;
}

/* The environment: the program's own, or what the exec map makes of it, and the state. */
static long
fill_environment(struct program *p, char **envp, long n, char **out)
{
    if (p->command) {
        n = command_environment(p->command, envp, n, out);
        if (n < 0)
            return n;
    } else if (n) {
        memcpy(out, envp, (size_t)n * sizeof(*out));
    }
    out[n] = (char *)p->state;
    out[n + 1] = NULL;
    return 0;
}

/* The arguments, behind those that scripts add; @scripts are innermost last. */
static int
fill_arguments(struct program *p, const struct script *scripts, int n_scripts, char **argv,
               long argc, char **out)
{
    char **first = out;
    long i = 0;

    for (int s = n_scripts - 1; s >= 0; s--) {
        *out++ = (char *)scripts[s].interp;
        if (scripts[s].arg)
            *out++ = (char *)scripts[s].arg;
    }
    if (n_scripts) {
        *out++ = (char *)scripts[0].name;
        i = 1;
    } else if (argc == 0) {
        *out++ = (char *)""; /* as Linux since 5.18 */
    }
    for (; i < argc; i++)
        *out++ = argv[i];
    *out = NULL;
    return p->command ? command_name(p->command, first) : 0;
}

static int
fill_state(struct program *p)
{
    const char *root = root_now();
    struct exec_state state = {.plan = engine.plan_path,
                               .exe = p->exe,
                               .host = p->host,
                               .interp = p->interp,
                               .execfn = p->execfn,
                               .agent = engine.agent,
                               .cwd = "",
                               .root = root ? root : "",
                               .cred = p->cred,
                               .flags = (engine.marks_processes ? EXEC_MARKS_PROCESSES : 0) |
                                        (p->is_traced ? EXEC_TRACED : 0) |
                                        engine.late_filter * EXEC_LATE_FILTER,
                               .fd = p->fd};
    size_t cap;
    char *room = room_at(p, &cap);
    int err = p->command ? command_state(p->command, &state, room, cap) : 0;

    if (err)
        return err;
    if (p->command)
        room_keep(p, room);
    room = room_at(p, &cap);
    err = state_format(&state, room, cap);
    if (!err)
        p->state = room_keep(p, room);
    return err;
}

/* A vector of @n pointers; *mapped: in a mapping of its own. In a vfork child that outlives us in
 * the parent, so small ones live in the room. */
static char **
new_vector(struct program *p, size_t n, bool *mapped)
{
    size_t at = (p->used + sizeof(char *) - 1) & ~(sizeof(char *) - 1);
    long r;

    *mapped = false;
    if (at <= sizeof(p->room) && n <= (sizeof(p->room) - at) / sizeof(char *))
        return (char **)(void *)(p->room + at);
    *mapped = true;
    r = sys6(SYS_mmap, 0, n * sizeof(char *), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
             -1, 0);
    return sys_failed(r) ? NULL : (char **)r;
}

/* Build the two vectors and go. */
static long
launch(struct call *c, struct program *p, const struct script *scripts, int n_scripts, char **argv,
       char **envp)
{
    long argc = vector_length(argv), envc = vector_length(envp), r;
    size_t env_size = (size_t)envc + (p->command ? p->command->env.n : 0) + 2, n;
    bool mapped;
    char **vector;

    if (argc < 0 || envc < 0)
        return -EFAULT;
    p->is_traced = ptrace_is_wanted() && !(*c->mask & SIGTRAP_BIT);
    r = fill_state(p);
    if (r || c->slot == EXEC_CHECKS)
        return r;
    n = env_size + (size_t)argc + 3 * (size_t)n_scripts + 2;
    vector = new_vector(p, n, &mapped);
    if (!vector)
        return -ENOMEM;
    r = fill_environment(p, envp, envc, vector);
    if (!r)
        r = fill_arguments(p, scripts, n_scripts, argv, argc, vector + env_size);
    if (!r)
        r = exec_loader(c, p, vector + env_size, vector);
    if (mapped)
        sys2(SYS_munmap, vector, n * sizeof(*vector));
    return r;
}

static long
exec_found(struct call *c, struct program *p, int dirfd, bool follow, char **argv, char **envp)
{
    struct script scripts[MAX_SCRIPTS];
    int n = 0, err = find_program(p, dirfd, follow);

    while (!err) {
        if (p->command || !is_script(p))
            return launch(c, p, scripts, n, argv, envp);
        if (n == MAX_SCRIPTS)
            return -ELOOP;
        err = step_script(p, &scripts[n], n == 0);
        if (!err && p->is_lost)
            return -ENOENT;
        if (!err)
            err = find_program(p, AT_FDCWD, true);
        n++;
    }
    return err;
}

/* The name that the program, or a script's interpreter, is told: "/dev/fd/N/PATH" for a path below
 * a descriptor, "/dev/fd/N" for what is behind one. */
static int
name_program(struct program *p, int dirfd)
{
    bool below = dirfd != AT_FDCWD && p->path[0] != '/';
    int fd = below ? dirfd : p->from, err;
    char digits[24], *name;
    size_t len = 0, cap;

    p->execfn = p->path;
    if (fd < 0)
        return 0;
    p->is_lost = sys3(SYS_fcntl, fd, F_GETFD, 0) & FD_CLOEXEC;
    name = room_at(p, &cap);
    err = str_append(name, cap, &len, "/dev/fd/", 8);
    if (!err)
        err = str_append(name, cap, &len, digits, str_decimal(digits, (uint64_t)fd));
    if (!err && below)
        err = str_append(name, cap, &len, "/", 1);
    if (!err && below)
        err = str_append(name, cap, &len, p->path, strlen(p->path));
    if (!err)
        p->execfn = room_keep(p, name);
    return err;
}

/* Execute p->path. Returns only on failure. */
static long
exec_path(struct call *c, struct program *p, int dirfd, bool follow, char **argv, char **envp)
{
    size_t n = strlen(p->path);
    long r;

    if (!n)
        return -ENOENT;
    if (n >= LPMX_PATH_MAX)
        return -ENAMETOOLONG;
    r = name_program(p, dirfd);
    if (r)
        return r;
    r = exec_found(c, p, dirfd, follow, argv, envp);
    if (p->fd >= 0)
        sys1(SYS_close, p->fd);
    return r;
}

static void
program_start(struct program *p, const char *path)
{
    p->path = path;
    p->fd = p->from = -1;
    p->is_lost = false;
    p->used = p->file.n = 0;
}

long
exec_program(struct call *c, int dirfd, const char *path, bool follow, char **argv, char **envp)
{
    struct program p;

    program_start(&p, path);
    return exec_path(c, &p, dirfd, follow, argv, envp);
}

/* The same for a path in the program's memory. */
static long
exec_user_path(struct call *c, int dirfd, unsigned long path, bool follow, char **argv, char **envp)
{
    struct program p;
    int err;

    program_start(&p, p.room);
    err = user_string(p.room, LPMX_PATH_MAX, path);
    if (err)
        return err;
    room_keep(&p, p.room);
    return exec_path(c, &p, dirfd, follow, argv, envp);
}

long
call_execve(struct call *c)
{
    return exec_user_path(c, AT_FDCWD, c->a[0], true, (char **)c->a[1], (char **)c->a[2]);
}

/* fexecve: the program behind a descriptor, named /proc/self/fd/N as the kernel names it /dev/fd/N.
 */
COLD static long
exec_descriptor(struct call *c, int fd)
{
    struct program p;
    char path[PROC_LINK_SIZE];

    if (fd < 0)
        return fd == AT_FDCWD ? -EACCES : -EBADF; /* a directory is no program */
    proc_link_fd(fd, path);
    program_start(&p, path);
    p.from = fd;
    return exec_path(c, &p, AT_FDCWD, true, (char **)c->a[2], (char **)c->a[3]);
}

COLD long
call_execveat(struct call *c)
{
    char first;
    int err;

    if (c->a[4] & ~(unsigned long)(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
        return -EINVAL;
    err = user_copy(&first, c->a[1], 1);
    if (err)
        return err;
    if (!first)
        return c->a[4] & AT_EMPTY_PATH ? exec_descriptor(c, (int)c->a[0]) : -ENOENT;
    return exec_user_path(c, (int)c->a[0], c->a[1], !(c->a[4] & AT_SYMLINK_NOFOLLOW),
                          (char **)c->a[2], (char **)c->a[3]);
}
