/* The loader's first life, `lpmx-exec --plan FILE ...`: a user, a script or Python starts a
 * container. It makes the mount points, enters the working directory, starts the agent that
 * commands of the host need, installs the filter and executes the command. */
#include "start.h"

#include "../agent/agent.h"
#include "../base/libc.h"
#include "../base/str.h"
#include "../calls/exec/exec.h"
#include "../calls/fakeroot/cred.h"
#include "../calls/program/vfork.h"
#include "../engine/filter.h"
#include "../trap/handler.h"
#include "enter.h"
#include "explain.h"
#include "load.h"
#include "say.h"
#include "startenv.h"

#include <signal.h>
#include <sys/prctl.h>

COLD_FILE;

struct start {
    const char *plan, *cwd;
    const char *here;   /* the caller's working directory; it must be the same one inside */
    const char *parent; /* pid of whoever must not be outlived, in decimal; or NULL */
    bool check;         /* only say whether the command can be started */
    struct startenv env;
    char **argv; /* NULL: the plan's own command */
};

static const char *
plan_string(struct uufs_string s)
{
    return engine.fs.strings + s.off;
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

/* The next place along PATH for a program called @name, at @path; NULL after the last. */
static const char *
next_place(const char **dirs, const char *name, char *path, size_t cap)
{
    const char *d = *dirs, *end = d;
    size_t len = 0;
    int err;

    if (!d)
        return NULL;
    while (*end && *end != ':')
        end++;
    *dirs = *end ? end + 1 : NULL;
    err = str_append(path, cap, &len, end > d ? d : ".", end > d ? (size_t)(end - d) : 1);
    if (!err)
        err = str_append(path, cap, &len, "/", 1);
    if (!err)
        err = str_append(path, cap, &len, name, strlen(name));
    return err ? "" : path; /* there is nothing at a name that long */
}

/* Where to look for @name, as a shell does; NULL: it is a path itself. */
static const char *
search_path(const char *name, char **envp)
{
    const char *dirs = env_value(envp, "PATH");

    for (const char *p = name; *p; p++)
        if (*p == '/')
            return NULL;
    return dirs ? dirs : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

/* Execute @argv, found through PATH as a shell would. Returns only on failure, or with 0 where it
 * is only to be @check-ed. */
static int
exec_command(char **argv, char **envp, bool check)
{
    static char room[2 * LPMX_PATH_MAX];
    uint64_t mask = 0;
    struct call c = {.mask = &mask, .slot = check ? EXEC_CHECKS : -1};
    const char *dirs = search_path(argv[0], envp), *path;
    int err = -ENOENT;

    sys4(SYS_rt_sigprocmask, 0, 0, &mask, 8);
    if (!dirs)
        return (int)exec_program(&c, AT_FDCWD, argv[0], true, argv, envp);
    while (err && (path = next_place(&dirs, argv[0], room, sizeof(room)))) {
        int r = (int)exec_program(&c, AT_FDCWD, path, true, argv, envp);

        if (r != -ENOENT && r != -ENOTDIR)
            err = r;
    }
    return err;
}

/* Say why @command was not executed. Of several along PATH the first that lacks something. */
static void
explain_command(const char *command, char **envp, int err)
{
    static char room[2 * LPMX_PATH_MAX];
    const char *dirs = search_path(command, envp), *path;

    if (!dirs && explain_start(command))
        return;
    while (dirs && (path = next_place(&dirs, command, room, sizeof(room))))
        if (explain_start(path))
            return;
    engine_say(command, error_text(err), "");
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
    "                 [--pass NAMES] [--take NAMES] [--check] [--] [COMMAND [ARG...]]\n"

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
        } else if (!strcmp(argv[i], "--check")) {
            s.check = true;
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
    engine.plan_path = load_keep(absolute);
}

/* See engine.loader. Without /proc the plan's word for it must do. */
static const char *
own_path(void)
{
    char path[LPMX_PATH_MAX];
    long n = sys4(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", path, sizeof(path) - 1);

    if (n <= 0)
        return plan_string(engine.plan->loader);
    path[n] = '\0';
    return load_keep(path);
}

/* The end of a start that executed nothing. */
static _Noreturn void
end_start(const char *command, char **envp, int err)
{
    if (!err)
        quit(0);
    explain_command(command, envp, err);
    quit(err == -ENOENT || err == -ENOTDIR ? 127 : 126);
}

_Noreturn void
start_plan(int argc, char **argv, char **envp)
{
    static char *own_argv[4096];
    struct start s = parse_arguments(argc, argv);
    char **program_env;
    int err;

    if (s.parent)
        die_with(s.parent);
    absolute_plan_path(s.plan);
    load_plan(engine.plan_path);
    engine.loader = own_path();
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
    if (s.check)
        end_start(s.argv[0], program_env, exec_command(s.argv, program_env, true));
    if (engine.plan->flags & PLAN_AGENT) {
        err = agent_start(envp, engine.agent, sizeof(engine.agent));
        if (err)
            die(125, "the agent for commands of the host", err);
    }
    engine.marks_processes = !vfork_compares_memory();
    trap_install_handler();
    vfork_mark_process();
    if (emulates_root())
        cred_start();
    err = filter_install(engine.plan->flags);
    if (err) {
        engine_say("the kernel refuses a seccomp filter", error_text(err), "");
        quit(125);
    }
    end_start(s.argv[0], program_env, exec_command(s.argv, program_env, false));
}
