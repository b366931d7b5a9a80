/* The agent's child, between fork and exec: everything that a plain exec in the container would
 * have kept is put in place here, and the program is executed as on the host. */
#include "spawn.h"

#include "../base/libc.h"
#include "../base/str.h"
#include "../engine/engine.h"
#include "message.h"

#include <sys/prctl.h>
#include <sys/resource.h>

COLD_FILE;

#define SIG_DFL_ACTION ((void *)0)
#define SIG_IGN_ACTION ((void *)1)
#define TERM           15

static const char *
text(const struct agent_request *q, uint32_t off)
{
    return (const char *)q + off;
}

/* ---- environment ---- */

static size_t
name_length(const char *entry)
{
    size_t n = 0;

    while (entry[n] && entry[n] != '=')
        n++;
    return n;
}

const char *
spawn_variable(char **env, const char *name, size_t len)
{
    for (; *env; env++)
        if (!strncmp(*env, name, len) && (*env)[len] == '=')
            return *env;
    return NULL;
}

/* @n strings in a row, as pointers. */
static void
point(char **out, const char *s, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        out[i] = (char *)s;
        s += strlen(s) + 1;
    }
    out[n] = NULL;
}

/* The host's variables, under those that the container let through. */
static char **
merge_environment(const struct agent_request *q, char **host_env)
{
    size_t n = 0;
    char **out;

    while (host_env[n])
        n++;
    out = message_memory((n + q->envc + 1) * sizeof(*out));
    if (!out)
        return NULL;
    point(out, text(q, q->env), q->envc);
    for (size_t kept = q->envc; *host_env; host_env++)
        if (!spawn_variable(out, *host_env, name_length(*host_env)))
            out[kept++] = *host_env;
    return out;
}

/* ---- state of the process ---- */

/* The received descriptors lie anywhere: first out of the way of all numbers that are wanted. */
static int
place_descriptors(const struct agent_request *q, const int *fds, int *connection)
{
    const int32_t *wanted = (const void *)text(q, q->fds);
    int32_t above = 3;
    int *moved = message_memory((q->n_fds + 1) * sizeof(*moved));
    long r;

    if (!moved)
        return -ENOMEM;
    for (uint32_t i = 0; i < q->n_fds; i++)
        if (wanted[i] >= above)
            above = wanted[i] + 1;
    r = sys3(SYS_fcntl, *connection, F_DUPFD_CLOEXEC, above);
    if (r < 0)
        return (int)r;
    *connection = (int)r;
    for (uint32_t i = 0; i < q->n_fds; i++) {
        r = sys3(SYS_fcntl, fds[i], F_DUPFD_CLOEXEC, above);
        if (r < 0)
            return (int)r;
        moved[i] = (int)r;
    }
    for (int fd = 0; fd < 3; fd++)
        sys1(SYS_close, fd); /* the agent's own; all others of it close on exec */
    for (uint32_t i = 0; i < q->n_fds; i++) {
        r = sys3(SYS_dup3, moved[i], wanted[i], 0);
        if (r < 0)
            return (int)r;
    }
    return 0;
}

static void
set_limits(const struct agent_request *q)
{
    sys1(SYS_umask, q->umask);
    sys3(SYS_setpriority, PRIO_PROCESS, 0, q->nice);
    if (q->cpu_size && q->cpu_size <= sizeof(q->cpus))
        sys3(SYS_sched_setaffinity, 0, q->cpu_size, q->cpus);
    for (unsigned i = 0; i < AGENT_LIMITS; i++)
        sys4(SYS_prlimit64, 0, i, &q->limits[i], 0);
}

static void
set_signals(const struct agent_request *q)
{
    for (int i = 1; i <= AGENT_SIGNALS; i++) {
        struct kernel_sigaction sa = {SIG_DFL_ACTION, 0, 0, 0};

        if (q->ignored >> (i - 1) & 1)
            sa.handler = SIG_IGN_ACTION;
        sys4(SYS_rt_sigaction, i, &sa, 0, 8);
    }
    sys4(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &q->blocked, 0, 8);
}

static int
enter_directory(const struct agent_request *q, int directory)
{
    const char *cwd = text(q, q->cwd);

    return (int)(cwd[0] ? sys1(SYS_chdir, cwd) : sys1(SYS_fchdir, directory));
}

/* ---- the program ---- */

/* Execute @path; a text without a `#!` line is the shell's, as with execvp. */
static long
execute(const char *path, char **argv, uint32_t argc, char **env)
{
    long r = sys3(SYS_execve, path, argv, env);
    char **shell;

    if (r != -ENOEXEC)
        return r;
    shell = message_memory((argc + 3) * sizeof(*shell));
    if (!shell)
        return r;
    shell[0] = (char *)"/bin/sh";
    shell[1] = (char *)path;
    for (uint32_t i = 1; i < argc; i++)
        shell[i + 1] = argv[i];
    return sys3(SYS_execve, shell[0], shell, env);
}

static long
search(const char *name, char **argv, uint32_t argc, char **env)
{
    static char path[2 * LPMX_PATH_MAX];
    const char *dirs = spawn_variable(env, "PATH", 4);
    long err = -ENOENT;

    dirs = dirs ? dirs + 5 : "/usr/local/bin:/usr/bin:/bin";
    for (const char *d = dirs;;) {
        const char *end = d;
        size_t len = 0;
        long r;

        while (*end && *end != ':')
            end++;
        r = str_append(path, sizeof(path), &len, end > d ? d : ".",
                       end > d ? (size_t)(end - d) : 1);
        if (!r)
            r = str_append(path, sizeof(path), &len, "/", 1);
        if (!r)
            r = str_append(path, sizeof(path), &len, name, strlen(name));
        if (!r)
            r = execute(path, argv, argc, env);
        if (r != -ENOENT && r != -ENOTDIR)
            err = r;
        if (!*end)
            return err;
        d = end + 1;
    }
}

static long
become(const struct agent_request *q, int directory, const int *fds, int *connection,
       char **host_env)
{
    const char *command = text(q, q->command);
    char **argv = message_memory((q->argc + 1) * sizeof(*argv)),
         **env = merge_environment(q, host_env);
    long r = argv && env ? enter_directory(q, directory) : -ENOMEM;

    if (!r)
        r = place_descriptors(q, fds, connection);
    if (r)
        return r;
    point(argv, text(q, q->argv), q->argc);
    set_limits(q);
    sys2(SYS_prctl, PR_SET_PDEATHSIG, TERM); /* nobody could wait for it any more */
    set_signals(q);
    return command[0] == '/' ? execute(command, argv, q->argc, env)
                             : search(command, argv, q->argc, env);
}

_Noreturn void
spawn_program(const struct agent_request *q, int directory, const int *fds, int connection,
              char **host_env)
{
    long r;

    if (q->session == (int)sys1(SYS_getsid, 0))
        sys2(SYS_setpgid, 0, q->group); /* with the caller: what the terminal says reaches both */
    else
        sys0(SYS_setsid);
    r = become(q, directory, fds, &connection, host_env);
    message_send(connection, AGENT_FAILED, (int)-r, NULL, 0);
    for (;;)
        sys1(SYS_exit_group, 127);
}
