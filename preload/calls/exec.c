/* execve inside a container: every program is started by our loader, which maps it and stays as its
 * engine.
 *
 * All that can fail is found out here, in the old image, so that the caller gets the errno a plain
 * exec would give: resolution, permission, `#!` lines, the ELF header, the interpreter. Then the
 * kernel executes the loader with the program's own argv and the environment plus one string, which
 * the loader takes out again. */
#include "hashbang.h"
#include "ownership.h"
#include "../trap/slots.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#define MAX_SCRIPTS  5    /* as the kernel's limit of nested interpreters */
#define SMALL_VECTOR 2048 /* pointers kept on the handler's stack; more go into a mapping */

struct program {
    char path[LPMX_PATH_MAX];   /* as executed: what argv[0] of a script's interpreter gets */
    char execfn[LPMX_PATH_MAX]; /* the name first executed */
    struct uufs_hit hit;
    char head[HASHBANG_SIZE + 1];
    char cred[CRED_TEXT_MAX];    /* what root emulation hands on */
    char cwd[LPMX_PATH_MAX + 1]; /* of a command that runs elsewhere */
    char state[6 * LPMX_PATH_MAX + CRED_TEXT_MAX];
    const struct plan_command *command; /* not NULL: it runs elsewhere, see command.c */
    int fd; /* >= 0: a program without a name in the container (memfd), kept open for the loader */
    char *small[SMALL_VECTOR];
};

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

/* A program named by a magic link: /proc/self/fd/N of a memfd or of a file that has no path here.
 * The descriptor may be close-on-exec, so the loader gets a copy that is not. */
static int
take_descriptor(struct program *p, int fd)
{
    long copy = sys3(SYS_fcntl, fd, F_DUPFD, 100);
    size_t len = 14;

    if (copy < 0)
        return (int)copy;
    p->fd = (int)copy;
    memcpy(p->hit.host, "/proc/self/fd/", len);
    len += str_decimal(p->hit.host + len, (uint64_t)copy);
    p->hit.host_len = (uint32_t)len;
    p->hit.where = UUFS_BIND;
    p->hit.in_union = false;
    p->hit.type = S_IFREG;
    memcpy(p->hit.ctr, p->hit.host, len + 1);
    p->hit.ctr_len = (uint32_t)len;
    return 0;
}

/* Replace a hit on a descriptor by the file behind it where that has a container path. */
static int
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

static int
locate(struct program *p, int dirfd, bool follow)
{
    char base[LPMX_PATH_MAX];
    int err;

    base[0] = '\0';
    if (p->path[0] != '/') {
        err = call_base(dirfd, base, sizeof(base));
        if (err)
            return err;
    }
    err = uufs_walk(&engine.fs, base, p->path, follow ? UUFS_FOLLOW : 0, &p->hit);
    if (err)
        return err;
    if (p->hit.magic && !proc_is_own(p->hit.host))
        return -EACCES;
    if (p->hit.magic)
        return follow_descriptor(p, magic_descriptor(p->hit.host));
    if (p->hit.type == S_IFLNK)
        return -ELOOP;
    return 0;
}

static int
check_permission(const struct program *p)
{
    const struct view_node *n =
        p->hit.where == UUFS_LOWER ? view_node(&engine.fs.view, p->hit.node) : NULL;
    struct stat st;
    long r;

    if (n && S_ISREG(n->mode) && (n->mode & 0111) == 0111) /* anyone may */
        return 0;
    r = sys4(SYS_newfstatat, AT_FDCWD, p->hit.host, &st, 0);
    if (r)
        return (int)r;
    if (!S_ISREG(st.st_mode))
        return -EACCES;
    return (int)sys3(SYS_faccessat, AT_FDCWD, p->hit.host, 1 /* X_OK */);
}

static int
read_head(struct program *p)
{
    char interp[LPMX_PATH_MAX];
    struct uufs_hit *hit = &p->hit;
    long n, fd = uufs_open(hit->host, O_RDONLY, 0);
    int err;

    if (fd < 0)
        return (int)fd;
    n = sys3(SYS_read, fd, p->head, HASHBANG_SIZE);
    interp[0] = '\0';
    err = n < 0 ? (int)n : 0;
    if (!err) {
        memset(p->head + n, 0, (size_t)(HASHBANG_SIZE + 1 - n));
        if (p->head[0] != '#' || p->head[1] != '!') {
            err = elf_check(p->head, (size_t)n);
            if (!err)
                err = elf_interp((int)fd, interp, sizeof(interp));
        }
    }
    sys1(SYS_close, fd);
    if (!err && interp[0]) {
        struct uufs_hit found;

        err = uufs_walk(&engine.fs, "/", interp, UUFS_FOLLOW, &found);
    }
    return err;
}

/* A vector of @n pointers. In a vfork child a mapping outlives us in the parent, so small ones live
 * on the stack. */
static char **
new_vector(struct program *p, size_t n)
{
    long r;

    if (n <= SMALL_VECTOR)
        return p->small;
    r = sys6(SYS_mmap, 0, n * sizeof(char *), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
             -1, 0);
    return sys_failed(r) ? NULL : (char **)r;
}

struct script { /* what one #! line adds in front of the arguments */
    char interp[HASHBANG_SIZE + 1], arg[HASHBANG_SIZE + 1], name[LPMX_PATH_MAX];
    bool has_arg;
};

/* Where the program is a script, @p becomes its interpreter and the line is kept in @s. 1 when it
 * was one. */
static int
step_script(struct program *p, struct script *s, bool first)
{
    char *interp, *arg;
    int err;

    if (p->head[0] != '#' || p->head[1] != '!')
        return 0;
    err = hashbang_parse(p->head, &interp, &arg);
    if (err)
        return err;
    memcpy(s->interp, interp, strlen(interp) + 1);
    s->has_arg = arg != NULL;
    if (arg)
        memcpy(s->arg, arg, strlen(arg) + 1);
    memcpy(s->name, first ? p->execfn : p->path, sizeof(s->name));
    memcpy(p->path, s->interp, strlen(s->interp) + 1);
    return 1;
}

static int
find_program(struct program *p, int dirfd, bool follow)
{
    int err = locate(p, dirfd, follow);

    if (!err) {
        p->command = command_find(&p->hit);
        if (p->command)
            return 0;
        err = check_permission(p);
    }
    return err ? err : read_head(p);
}

/* Execute the loader for @p. Returns only on failure. */
static long
exec_loader(const struct call *c, char **argv, char **envp)
{
    uint64_t all = ~0UL;
    int *old = NULL;
    long r;

    call_guard_signal_stack(c);
    sys4(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, c->mask, 0, 8);
    if (c->slot >= 0) {
        /* A vfork child runs on its parent's memory and will not come back to free its stack: the
         * kernel zeroes this word, and so frees the stack, when the child leaves the shared memory.
         */
        if (sys2(SYS_prctl, PR_GET_TID_ADDRESS, &old))
            old = NULL;
        sys1(SYS_set_tid_address, slot_word(c->slot));
    }
    trace_before_exec();
    r = sys3(SYS_execve, engine.loader, argv, envp);
    if (c->slot >= 0)
        sys1(SYS_set_tid_address, old);
    sys4(SYS_rt_sigprocmask, 2, &all, 0, 8);
    return r;
}

static void
hand_on_credentials(struct program *p)
{
    struct owner_file file = {.path = p->hit.host};
    char caps[32];
    long n = 0;

    p->cred[0] = '\0';
    if (!emulates_root())
        return;
    if (owner_file_stat(&file))
        memset(&file.st, 0, sizeof(file.st));
    else if (p->hit.in_union)
        n = extra_get(&engine.fs, &file, "security.capability", caps, sizeof(caps));
    ownership_show(&p->hit, &file.st);
    if (!p->hit.in_union) /* a host's file raises nothing */
        file.st.st_mode &= ~(uint32_t)06000;
    cred_exec_text(&file.st, caps, n, p->cred);
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
    out[n] = p->state;
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
        if (scripts[s].has_arg)
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
    struct exec_state state = {.plan = engine.plan_path,
                               .exe = p->hit.ctr,
                               .host = p->hit.host,
                               .execfn = p->execfn,
                               .agent = engine.agent,
                               .cwd = "",
                               .cred = p->cred,
                               .fd = p->fd};
    int err = p->command ? command_state(p->command, &state, p->cwd, sizeof(p->cwd)) : 0;

    return err ? err : state_format(&state, p->state, sizeof(p->state));
}

/* Build the two vectors and go. */
static long
launch(struct call *c, struct program *p, const struct script *scripts, int n_scripts, char **argv,
       char **envp)
{
    long argc = vector_length(argv), envc = vector_length(envp), r;
    size_t env_size = (size_t)envc + (p->command ? p->command->env.n : 0) + 2, n;
    char **vector;

    if (argc < 0 || envc < 0)
        return -EFAULT;
    hand_on_credentials(p);
    r = fill_state(p);
    if (r)
        return r;
    n = env_size + (size_t)argc + 3 * (size_t)n_scripts + 2;
    vector = new_vector(p, n);
    if (!vector)
        return -ENOMEM;
    r = fill_environment(p, envp, envc, vector);
    if (!r)
        r = fill_arguments(p, scripts, n_scripts, argv, argc, vector + env_size);
    if (!r)
        r = exec_loader(c, vector + env_size, vector);
    if (vector != p->small)
        sys2(SYS_munmap, vector, n * sizeof(*vector));
    return r;
}

static long
exec_found(struct call *c, struct program *p, int dirfd, bool follow, char **argv, char **envp)
{
    struct script scripts[MAX_SCRIPTS];
    int n = 0, err = find_program(p, dirfd, follow);

    while (!err) {
        if (!p->command && p->head[0] == '#' && p->head[1] == '!') {
            if (n == MAX_SCRIPTS)
                return -ELOOP;
            err = step_script(p, &scripts[n], n == 0);
            if (err < 0)
                return err;
            n++;
            err = find_program(p, AT_FDCWD, true);
            continue;
        }
        return launch(c, p, scripts, n, argv, envp);
    }
    return err;
}

/* The name that the program, or a script's interpreter, is told: "/dev/fd/N/PATH" for a path below
 * a descriptor. */
static int
name_program(struct program *p, int dirfd)
{
    static const char own[] = "/proc/self/fd/";
    char digits[24];
    size_t len = 0;
    const char *path = p->path;
    int err = 0;

    if (dirfd != AT_FDCWD && path[0] != '/') {
        err = str_append(p->execfn, sizeof(p->execfn), &len, "/dev/fd/", 8);
        if (!err)
            err = str_append(p->execfn, sizeof(p->execfn), &len, digits,
                             str_decimal(digits, (uint64_t)dirfd));
        if (!err)
            err = str_append(p->execfn, sizeof(p->execfn), &len, "/", 1);
    } else if (!strncmp(path, own, sizeof(own) - 1)) {
        path += sizeof("/proc/self") - 1;
        err = str_append(p->execfn, sizeof(p->execfn), &len, "/dev", 4);
    }
    return err ? err : str_append(p->execfn, sizeof(p->execfn), &len, path, strlen(path));
}

long
exec_program(struct call *c, int dirfd, const char *path, bool follow, char **argv, char **envp)
{
    struct program p;
    size_t n = strlen(path);
    long r;

    p.fd = -1;
    p.command = NULL;
    if (!n)
        return -ENOENT;
    if (n >= sizeof(p.path))
        return -ENAMETOOLONG;
    memcpy(p.path, path, n + 1);
    r = name_program(&p, dirfd);
    if (r)
        return r;
    r = exec_found(c, &p, dirfd, follow, argv, envp);
    if (p.fd >= 0)
        sys1(SYS_close, p.fd);
    return r;
}

long
call_execve(struct call *c)
{
    char path[LPMX_PATH_MAX];
    int err = user_string(path, sizeof(path), c->a[0]);

    return err ? err : exec_program(c, AT_FDCWD, path, true, (char **)c->a[1], (char **)c->a[2]);
}

/* fexecve: the program behind a descriptor, named /proc/self/fd/N as the kernel names it /dev/fd/N.
 */
static long
exec_descriptor(struct call *c, int fd)
{
    char path[40];

    memcpy(path, "/proc/self/fd/", 14);
    if (fd < 0)
        return -EBADF;
    str_decimal(path + 14, (uint64_t)fd);
    return exec_program(c, AT_FDCWD, path, true, (char **)c->a[2], (char **)c->a[3]);
}

long
call_execveat(struct call *c)
{
    char path[LPMX_PATH_MAX];
    int err = user_string(path, sizeof(path), c->a[1]);

    if (err)
        return err;
    if (!path[0])
        return c->a[4] & AT_EMPTY_PATH ? exec_descriptor(c, (int)c->a[0]) : -ENOENT;
    return exec_program(c, (int)c->a[0], path, !(c->a[4] & AT_SYMLINK_NOFOLLOW), (char **)c->a[2],
                        (char **)c->a[3]);
}
