/* The loader's two lives. Started by a user or by Python (`lpmx-exec --plan FILE ...`) it makes the
 * mount points, enters the working directory, installs the filter and executes the command. Started
 * by its own exec (the state variable is in the environment) it maps the program, becomes its
 * resident engine and jumps. */
#include "loader.h"

#include "../agent/agent.h"
#include "../calls/call.h"
#include "../calls/cred.h"
#include "startenv.h"

#include <elf.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

HOT_LAST struct engine engine;

/* ---- messages ---- */

static void
say(const char *s)
{
    sys3(SYS_write, 2, s, strlen(s));
}

void
engine_say(const char *a, const char *b, const char *c)
{
    say("lpmx: ");
    say(a);
    say(b);
    say(c);
    say("\n");
}

_Noreturn void
quit(int status)
{
    for (;;)
        sys1(SYS_exit_group, status);
}

const char *
error_text(int err)
{
    switch (-err) {
    case ENOENT:
        return ": no such file or directory";
    case EACCES:
    case EPERM:
        return ": permission denied";
    case ENOTDIR:
        return ": not a directory";
    case EBADMSG:
        return ": damaged, or made by another version of lpmx (make it again)";
    case ENOEXEC:
        return ": not a program for this machine";
    case ELOOP:
        return ": too many levels of symbolic links";
    case ENOMEM:
        return ": out of memory";
    case EROFS:
        return ": read-only file system";
    case E2BIG:
        return ": too many entries";
    case ENOSPC:
        return ": no space left on device";
    default:
        return ": input/output error";
    }
}

_Noreturn void
die(int status, const char *what, int err)
{
    engine_say(what, error_text(err), "");
    quit(status);
}

/* ---- second life: become the program ---- */

static void
fix_auxv(Elf64_auxv_t *av, const struct elf_image *main, const struct elf_image *interp,
         const char *execfn)
{
    bool identity = engine.plan->flags & PLAN_IDENTITY;
    struct cred_ids user = {engine.plan->uid, engine.plan->uid, 0, 0};
    struct cred_ids group = {engine.plan->gid, engine.plan->gid, 0, 0};

    if (emulates_root()) {
        user = cred_now()->user;
        group = cred_now()->group;
    }
    for (; av->a_type != AT_NULL; av++) {
        switch (av->a_type) {
        case AT_PHDR:
            av->a_un.a_val = main->phdr;
            break;
        case AT_PHENT:
            av->a_un.a_val = main->phent;
            break;
        case AT_PHNUM:
            av->a_un.a_val = main->phnum;
            break;
        case AT_ENTRY:
            av->a_un.a_val = main->entry;
            break;
        case AT_BASE:
            av->a_un.a_val = interp ? interp->bias : 0;
            break;
        case AT_EXECFN:
            av->a_un.a_val = (uint64_t)execfn;
            break;
        case AT_UID:
        case AT_EUID:
            if (identity)
                av->a_un.a_val = av->a_type == AT_UID ? user.real : user.effective;
            break;
        case AT_GID:
        case AT_EGID:
            if (identity)
                av->a_un.a_val = av->a_type == AT_GID ? group.real : group.effective;
            break;
        case AT_SECURE:
            if (emulates_root())
                av->a_un.a_val = cred_secure();
            break;
        }
    }
}

/* comm, as the kernel sets it: the last part of the file name that was executed. */
static void
set_comm(const char *execfn)
{
    const char *name = execfn;

    for (const char *p = execfn; *p; p++)
        if (*p == '/' && p[1])
            name = p + 1;
    sys2(SYS_prctl, PR_SET_NAME, name);
}

/* A copy that stays: the state's own text is in the environment, which programs write over. */
static const char *
keep_text(const char *text)
{
    char *copy = engine.room + engine.kept;
    size_t n = strlen(text) + 1;

    if (n > sizeof(engine.room) - engine.kept)
        die(126, text, -ENOEXEC);
    memcpy(copy, text, n);
    engine.kept += n;
    return copy;
}

static void
copy_agent(const char *name)
{
    size_t n = strlen(name);

    if (n < sizeof(engine.agent))
        memcpy(engine.agent, name, n + 1);
}

static _Noreturn void
jump(uint64_t *sp, uint64_t entry)
{
    __asm__ volatile("mov %0, %%rsp\n\t"
                     "xor %%edx, %%edx\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "jmp *%1"
                     :
                     : "a"(sp), "c"(entry) /* neither rdx nor rbp, which are cleared */
                     : "memory");
    __builtin_unreachable();
}

static _Noreturn void
run_program(uint64_t *sp, Elf64_auxv_t *av, const struct exec_state *state)
{
    struct elf_image program, interp;
    bool has_interp = state->interp[0];
    int err = elf_map(state->host, true, &program);

    if (state->fd >= 0)
        sys1(SYS_close, state->fd);
    if (err)
        die(126, state->exe, err);
    if (has_interp) {
        err = elf_map(state->interp, false, &interp);
        if (err)
            die(127, state->interp, err);
    }
    if (program.exec_stack)
        sys3(SYS_mprotect, (uint64_t)sp & ~4095UL, 4096,
             PROT_READ | PROT_WRITE | PROT_EXEC | PROT_GROWSDOWN);
    set_comm(state->execfn);
    fix_auxv(av, &program, has_interp ? &interp : NULL, state->execfn);
    jump(sp, has_interp ? interp.entry : program.entry);
}

/* ---- first life: start a plan ---- */

struct start {
    const char *plan, *cwd;
    const char *here;   /* the caller's working directory; it must be the same one inside */
    const char *parent; /* pid of whoever must not be outlived, in decimal; or NULL */
    struct startenv env;
    char **argv; /* NULL: the plan's own command */
};

static const char *
plan_string(struct uufs_string s)
{
    return engine.fs.strings + s.off;
}

/* What is at @dst as the binds before it show it: a mount lies on what the outer ones have. */
static int
look_under(const char *dst, struct uufs_hit *hit)
{
    return uufs_walk(&engine.fs, "/", dst, UUFS_MISSING | UUFS_LAST, hit);
}

/* Is @dst below /dev, /proc or /sys? Root would leave files of ours there. */
static bool
is_kernels(const char *dst)
{
    static const char *const places[] = {"/dev/", "/proc/", "/sys/"};

    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        if (!strncmp(dst, places[i], strlen(places[i])))
            return true;
    return false;
}

/* A bind needs a name to be seen in listings and by getcwd; where the image or an outer bind has
 * none, it gets one. */
static void
make_mount_point(const struct uufs_bind *b)
{
    static struct uufs_hit hit;
    const char *dst = engine.fs.strings + b->dst;
    int err = look_under(dst, &hit);

    if (b->flags & UUFS_BIND_SEED || (!err && hit.where != UUFS_ABSENT) || is_kernels(dst))
        return;
    for (size_t i = 1; i <= b->dst_len; i++) {
        char part[LPMX_PATH_MAX];

        if ((dst[i] != '/' && dst[i]) || i >= sizeof(part))
            continue;
        memcpy(part, dst, i);
        part[i] = '\0';
        err = look_under(part, &hit);
        if (err || hit.where != UUFS_ABSENT || hit.read_only)
            continue;
        if (i < b->dst_len || !(b->flags & UUFS_BIND_FILE)) {
            uufs_mkdir(&engine.fs, &hit, 0755);
        } else if (!uufs_prepare_create(&engine.fs, &hit)) {
            long fd = sys4(SYS_openat, AT_FDCWD, hit.host, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);

            if (fd >= 0)
                sys1(SYS_close, fd);
        }
    }
}

/* Parents first, each on top of those before it. */
void
make_mount_points(void)
{
    uint32_t n_binds = engine.fs.n_binds;
    bool read_only = engine.fs.read_only;

    if (!engine.fs.upper)
        return;
    engine.fs.read_only = false; /* that is for the programs */
    for (uint32_t i = 0; i < n_binds; i++) {
        engine.fs.n_binds = i;
        make_mount_point(&engine.fs.binds[i]);
    }
    engine.fs.n_binds = n_binds;
    engine.fs.read_only = read_only;
}

void
enter_cwd(const char *cwd)
{
    static struct uufs_hit hit;
    int err = uufs_walk(&engine.fs, "/", cwd, UUFS_FOLLOW, &hit);

    if (!err)
        err = (int)sys1(SYS_chdir, hit.host);
    if (err == -ENOENT) {
        engine_say("working directory ", cwd, ": there is none in the container (bind it, or cd)");
        quit(126);
    }
    if (err)
        die(126, cwd, err);
}

/* Stay in the caller's directory, which is @cwd on the host. What the container shows at that path
 * must be it: a relative name means the same file on both sides, or nothing is started. The root is
 * let through, since daemons stand there without meaning it. */
static void
stay_here(const char *cwd)
{
    struct stat was, is;
    bool known = sys2(SYS_stat, ".", &was) == 0;

    enter_cwd(cwd);
    if (!strcmp(cwd, "/"))
        return;
    if (!known || sys2(SYS_stat, ".", &is) || was.st_dev != is.st_dev || was.st_ino != is.st_ino) {
        engine_say("working directory ", cwd, ": the container shows another one (bind it, or cd)");
        quit(126);
    }
}

static const char *
env_value(char **envp, const char *name)
{
    size_t n = strlen(name);

    for (; *envp; envp++)
        if (!strncmp(*envp, name, n) && (*envp)[n] == '=')
            return *envp + n + 1;
    return NULL;
}

/* Execute @argv, found through PATH as a shell would. Returns only on failure. */
static int
exec_command(char **argv, char **envp)
{
    static char path[2 * LPMX_PATH_MAX];
    uint64_t mask = 0;
    struct call c = {.mask = &mask, .slot = -1};
    const char *dirs = env_value(envp, "PATH");
    int err = -ENOENT;

    sys4(SYS_rt_sigprocmask, 0, 0, &mask, 8);
    for (const char *p = argv[0]; *p; p++)
        if (*p == '/')
            return (int)exec_program(&c, AT_FDCWD, argv[0], true, argv, envp);
    if (!dirs)
        dirs = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    for (const char *d = dirs;;) {
        const char *end = d;
        size_t len = 0;
        int r;

        while (*end && *end != ':')
            end++;
        r = str_append(path, sizeof(path), &len, end > d ? d : ".",
                       end > d ? (size_t)(end - d) : 1);
        if (!r)
            r = str_append(path, sizeof(path), &len, "/", 1);
        if (!r)
            r = str_append(path, sizeof(path), &len, argv[0], strlen(argv[0]));
        if (!r)
            r = (int)exec_program(&c, AT_FDCWD, path, true, argv, envp);
        if (r != -ENOENT && r != -ENOTDIR)
            err = r;
        if (!*end)
            return err;
        d = end + 1;
    }
}

/* The plan's strings as an argv or envp in @out of capacity @cap. */
static void
list_pointers(struct plan_list l, char **out, size_t cap)
{
    const struct uufs_string *s = (const void *)(engine.fs.strings + l.off);

    if (l.n + 1 > cap)
        die(126, "command or environment of the plan", -ENOMEM);
    for (uint32_t i = 0; i < l.n; i++)
        out[i] = (char *)plan_string(s[i]);
    out[l.n] = NULL;
}

static char **
start_environment(char **envp, const struct startenv *want)
{
    static char *base[4096], *env[4096];
    int err;

    if (want->file) {
        err = startenv_read(want->file, base, ARRAY_LEN(base));
        if (err)
            die(125, want->file, err);
    } else if (engine.plan->flags & PLAN_CLEAR_ENV) {
        list_pointers(engine.plan->env, base, ARRAY_LEN(base));
    } else {
        return envp;
    }
    err = startenv_merge(want, base, envp, env, ARRAY_LEN(env));
    if (err)
        die(126, "the environment", err);
    return env;
}

#define USAGE                                                                                      \
    "usage: lpmx-exec --plan FILE [--cwd DIR | --here DIR] [--die-with PARENT] [--env FILE]\n"     \
    "                 [--pass NAMES] [--take NAMES] [--] [COMMAND [ARG...]]\n"

static void
print_out(const char *s)
{
    sys3(SYS_write, 1, s, strlen(s));
}

static _Noreturn void
usage(int status)
{
    say(USAGE);
    quit(status);
}

static struct start
parse_arguments(int argc, char **argv)
{
    struct start s = {0};
    int i = 1;

    for (; i < argc && argv[i][0] == '-'; i++) {
        if (!strcmp(argv[i], "--")) {
            i++;
            break;
        }
        if (!strcmp(argv[i], "--version")) {
            print_out("lpmx-exec " ENGINE_VERSION " plan 2 view 1\n");
            quit(0);
        } else if (!strcmp(argv[i], "--help")) {
            print_out(USAGE);
            quit(0);
        } else if (!strcmp(argv[i], "--plan") && i + 1 < argc) {
            s.plan = argv[++i];
        } else if (!strcmp(argv[i], "--cwd") && i + 1 < argc) {
            s.cwd = argv[++i];
        } else if (!strcmp(argv[i], "--here") && i + 1 < argc) {
            s.here = argv[++i];
        } else if (!strcmp(argv[i], "--die-with") && i + 1 < argc) {
            s.parent = argv[++i];
        } else if (!strcmp(argv[i], "--env") && i + 1 < argc) {
            s.env.file = argv[++i];
        } else if (!strcmp(argv[i], "--pass") && i + 1 < argc) {
            s.env.pass = argv[++i];
        } else if (!strcmp(argv[i], "--take") && i + 1 < argc) {
            s.env.take = argv[++i];
        } else {
            usage(125);
        }
    }
    if (!s.plan)
        usage(125);
    if (i < argc)
        s.argv = argv + i;
    return s;
}

/* Be killed when our parent ends: it is the process that somebody else takes for the program. */
static void
die_with(const char *parent)
{
    char now[24];

    sys2(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
    str_decimal(now, (uint64_t)sys0(SYS_getppid));
    if (strcmp(now, parent)) /* it has ended already */
        quit(125);
}

static void
absolute_plan_path(const char *path)
{
    char absolute[2 * LPMX_PATH_MAX];
    size_t len = 0;
    int err = 0;

    if (path[0] != '/') {
        long n = sys2(SYS_getcwd, absolute, LPMX_PATH_MAX - 1);

        if (n < 0)
            die(125, path, (int)n);
        len = (size_t)n - 1;
        absolute[len++] = '/';
    }
    err = str_append(absolute, LPMX_PATH_MAX, &len, path, strlen(path));
    if (err)
        die(125, path, err);
    engine.plan_path = keep_text(absolute);
}

static void
load_plan_or_die(const char *path)
{
    const char *what;
    int err = plan_load(&engine, path, &what);

    if (err)
        die(125, what, err);
}

static _Noreturn void
start_plan(int argc, char **argv, char **envp)
{
    static char *own_argv[4096];
    struct start s = parse_arguments(argc, argv);
    char **program_env;
    int err;

    if (s.parent)
        die_with(s.parent);
    absolute_plan_path(s.plan);
    load_plan_or_die(engine.plan_path);
    make_mount_points();
    if (!s.argv) {
        s.argv = own_argv;
        list_pointers(engine.plan->argv, own_argv, ARRAY_LEN(own_argv));
        if (!own_argv[0]) {
            engine_say("no command given and the image names none", "", "");
            quit(125);
        }
    }
    if (s.here)
        stay_here(s.here);
    else if (!s.cwd && engine.plan->cwd.len)
        s.cwd = plan_string(engine.plan->cwd);
    if (s.cwd)
        enter_cwd(s.cwd);
    program_env = start_environment(agent_take_environment(envp), &s.env);
    if (engine.plan->flags & PLAN_AGENT) {
        err = agent_start(envp, engine.agent, sizeof(engine.agent));
        if (err)
            die(125, "the agent for commands of the host", err);
    }
    trap_install_handler();
    if (emulates_root())
        cred_start();
    err = trap_install_filter(engine.plan->flags);
    if (err) {
        engine_say("the kernel refuses a seccomp filter", error_text(err), "");
        quit(125);
    }
    err = exec_command(s.argv, program_env);
    engine_say(s.argv[0], error_text(err), "");
    quit(err == -ENOENT || err == -ENOTDIR ? 127 : 126);
}

/* ---- entry ---- */

/* Take the state variable out of the environment; its text, or NULL. It is the last entry: exec.c
 * put it there. */
static char *
take_state(char **envp, Elf64_auxv_t **av)
{
    size_t n = 0, aux = 0;
    char *text;

    while (envp[n])
        n++;
    *av = (Elf64_auxv_t *)(envp + n + 1);
    if (!n || strncmp(envp[n - 1], STATE_PREFIX, sizeof(STATE_PREFIX) - 1))
        return NULL;
    text = envp[n - 1] + sizeof(STATE_PREFIX) - 1;
    while ((*av)[aux].a_type != AT_NULL)
        aux++;
    envp[n - 1] = NULL;
    memmove(envp + n, *av, (aux + 1) * sizeof(**av));
    *av = (Elf64_auxv_t *)(envp + n);
    return text;
}

__attribute__((used)) _Noreturn void loader_main(uint64_t *sp);

__attribute__((used)) _Noreturn void
loader_main(uint64_t *sp)
{
    int argc = (int)sp[0];
    char **argv = (char **)(sp + 1), **envp = argv + argc + 1;
    struct exec_state state;
    Elf64_auxv_t *av;
    char *text = take_state(envp, &av);

    if (!text)
        start_plan(argc, argv, envp);
    if (state_parse(text, &state))
        die(125, "the state of an execution", -EBADMSG);
    engine.plan_path = keep_text(state.plan);
    engine.exe = keep_text(state.exe);
    copy_agent(state.agent);
    if (state.life == LIFE_PROGRAM)
        trap_install_handler();
    load_plan_or_die(engine.plan_path);
    if (emulates_root() && state.life == LIFE_CALLEE)
        cred_start(); /* another container: its root is its own */
    else if (emulates_root() && cred_restore(state.cred))
        die(125, "the credentials of an execution", -EBADMSG);
    engine.fs.proc_exe = proc_exe_path;
    if (state.life == LIFE_CALLEE)
        callee_run(&state, argv, envp);
    if (state.life == LIFE_PROXY)
        proxy_run(&state, argv, envp);
    run_program(sp, av, &state);
}

__asm__(".text\n"
        ".globl _start\n"
        ".type _start, @function\n"
        "_start:\n"
        "    mov %rsp, %rdi\n"
        "    xor %ebp, %ebp\n"
        "    lea slot_first_top(%rip), %rsp\n" /* the pages that traps will use too */
        "    call loader_main\n");
