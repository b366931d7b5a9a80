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
#include "../../engine/slots.h"
#include "../../uufs/proclink.h"
#include "../program/perform.h"
#include "../program/root.h"
#include "../program/usermem.h"
#include "command.h"
#include "hashbang.h"
#include "program.h"
#include "ptrace.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

HOT_FILE;

#define MAX_SCRIPTS 5 /* as the kernel's limit of nested interpreters */
#define SIGTRAP_BIT (1UL << (SIGTRAP - 1))

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
    s->interp = program_copy_text(p, interp);
    s->arg = arg ? program_copy_text(p, arg) : NULL;
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
    char *room = program_room(p, &cap);
    int err = p->command ? command_state(p->command, &state, room, cap) : 0;

    if (err)
        return err;
    if (p->command)
        program_keep_text(p, room);
    room = program_room(p, &cap);
    err = state_format(&state, room, cap);
    if (!err)
        p->state = program_keep_text(p, room);
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
    int n = 0, err = program_find(p, dirfd, follow);

    while (!err) {
        if (p->command || !program_is_script(p))
            return launch(c, p, scripts, n, argv, envp);
        if (n == MAX_SCRIPTS)
            return -ELOOP;
        err = step_script(p, &scripts[n], n == 0);
        if (!err && p->is_lost)
            return -ENOENT;
        if (!err)
            err = program_find(p, AT_FDCWD, true);
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
    name = program_room(p, &cap);
    err = str_append(name, cap, &len, "/dev/fd/", 8);
    if (!err)
        err = str_append(name, cap, &len, digits, str_decimal(digits, (uint64_t)fd));
    if (!err && below)
        err = str_append(name, cap, &len, "/", 1);
    if (!err && below)
        err = str_append(name, cap, &len, p->path, strlen(p->path));
    if (!err)
        p->execfn = program_keep_text(p, name);
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
    program_keep_text(&p, p.room);
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
