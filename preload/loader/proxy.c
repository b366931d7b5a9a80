/* The proxy: a command of the container that is really the host's. The process is the one that the
 * caller executed; it hands everything to the agent, and from then on only stands for the program:
 * what is signalled to it goes to the program, and it stops and ends as the program does. */
#include "proxy.h"

#include "../agent/message.h"
#include "../base/libc.h"
#include "../engine/plan.h"
#include "../uufs/walk/walk.h"
#include "say.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

COLD_FILE;

#define FDS_MAX 65536
#define NO_AGENT                                                                                   \
    "the host agent of this container has ended (start the container again to call commands of "   \
    "the host)"
#define FROM_KERNEL 0x80 /* SI_KERNEL */

struct proxy {
    const struct plan_command *command;
    const struct exec_state *state;
    uint64_t ignored, blocked; /* as the caller left them */
    int agent, signals;
    bool started;
    bool together; /* the program is in our process group: what the terminal sends reaches it too */
};

static const char *
text(struct uufs_string s)
{
    return engine.fs.strings + s.off;
}

static _Noreturn void
fail(const struct proxy *p, int status, const char *why)
{
    engine_say(text(p->command->name), ": ", why);
    quit(status);
}

/* ---- the request ---- */

struct builder {
    char *base;
    size_t len, cap;
};

static uint32_t
add(struct builder *b, const void *data, size_t n)
{
    size_t at = b->len;

    if (n > b->cap - b->len)
        die(126, "arguments of a command of the host", -ENOMEM);
    memcpy(b->base + at, data, n);
    b->len += n;
    return (uint32_t)at;
}

static uint32_t
add_string(struct builder *b, const char *s)
{
    return add(b, s, strlen(s) + 1);
}

/* The host's name of container path @path into @host: where a bind shows it, and files of the
 * image, which the host can read. False for what the host has no name for. */
static bool
translate(const char *path, char *host)
{
    static struct uufs_hit hit;

    if (uufs_walk(&engine.fs, "/", path, UUFS_FOLLOW | UUFS_MISSING | UUFS_ROOTED, &hit) ||
        hit.magic)
        return false;
    if (hit.in_union && (hit.where == UUFS_ABSENT || hit.type != S_IFREG))
        return false;
    memcpy(host, hit.host, hit.host_len + 1);
    return true;
}

/* An argument that is an absolute path, or an option whose value is one. */
static void
add_argument(struct builder *b, const char *arg, bool translated)
{
    static char host[LPMX_PATH_MAX];
    const char *path = arg;

    while (*path && *path != '/' && *path != '=')
        path++;
    if (*path == '=')
        path++;
    if (!translated || *path != '/' || (path > arg && path[-1] != '=') || !translate(path, host)) {
        add_string(b, arg);
        return;
    }
    add(b, arg, (size_t)(path - arg));
    add_string(b, host);
}

static size_t
vector_size(char **v, uint32_t *n, size_t extra)
{
    size_t size = 0;

    for (*n = 0; v[*n]; (*n)++)
        size += strlen(v[*n]) + 1 + extra;
    return size;
}

static void
describe_process(const struct proxy *p, struct agent_request *q)
{
    long n;

    q->group = (int)sys1(SYS_getpgid, 0);
    q->session = (int)sys1(SYS_getsid, 0);
    q->nice = 20 - (int)sys2(SYS_getpriority, 0, 0);
    q->umask = (uint32_t)sys1(SYS_umask, 077);
    sys1(SYS_umask, q->umask);
    q->ignored = p->ignored;
    q->blocked = p->blocked;
    for (unsigned i = 0; i < AGENT_LIMITS; i++)
        sys4(SYS_prlimit64, 0, i, 0, &q->limits[i]);
    n = sys3(SYS_sched_getaffinity, 0, sizeof(q->cpus), q->cpus);
    q->cpu_size = n > 0 ? (uint32_t)n : 0;
}

/* The request in a memfd, whose number is returned. */
static int
build_request(const struct proxy *p, char **argv, char **envp, const int *fds, uint32_t n_fds)
{
    bool translated = p->command->flags & COMMAND_TRANSLATE;
    bool aside = p->command->flags & COMMAND_ASIDE;
    uint32_t argc, envc;
    size_t size = sizeof(struct agent_request) + n_fds * sizeof(int) + p->command->target.len +
                  strlen(p->state->cwd) + 2;
    struct agent_request *q;
    struct builder b = {.len = sizeof(*q)};
    long fd = sys2(SYS_memfd_create, "lpmx-request", MFD_CLOEXEC), r;

    size += vector_size(argv, &argc, translated ? LPMX_PATH_MAX : 0);
    size += vector_size(envp, &envc, sizeof(COMMAND_ASIDE_PREFIX));
    r = fd < 0 ? fd : sys2(SYS_ftruncate, fd, size);
    if (!r)
        r = sys6(SYS_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (sys_failed(r))
        die(126, text(p->command->name), (int)r);
    q = (void *)r;
    b.base = (char *)q;
    b.cap = size;
    describe_process(p, q);
    q->n_fds = n_fds;
    q->fds = add(&b, fds, n_fds * sizeof(*fds));
    q->command = add_string(&b, text(p->command->target));
    q->cwd = add_string(&b, p->state->cwd);
    q->argc = argc;
    q->argv = (uint32_t)b.len;
    for (uint32_t i = 0; i < argc; i++)
        add_argument(&b, argv[i], translated && i);
    q->envc = envc;
    q->env = (uint32_t)b.len;
    for (uint32_t i = 0; i < envc; i++) {
        if (aside)
            add(&b, COMMAND_ASIDE_PREFIX, sizeof(COMMAND_ASIDE_PREFIX) - 1);
        add_string(&b, envp[i]);
    }
    q->size = (uint32_t)b.len;
    sys2(SYS_ftruncate, fd, b.len);
    sys2(SYS_munmap, q, size);
    return (int)fd;
}

/* ---- the way to the agent ---- */

static void
connect_agent(struct proxy *p)
{
    struct sockaddr_un address;
    size_t size;
    long r = message_address(engine.agent, &address, &size);

    p->agent = (int)sys3(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (!r)
        r = p->agent < 0 ? p->agent : sys3(SYS_connect, p->agent, &address, size);
    if (r || !message_peer_is_own(p->agent))
        fail(p, 126, NO_AGENT);
}

static void
hand_over(struct proxy *p, char **argv, char **envp)
{
    static int fds[FDS_MAX];
    long n = message_descriptors(fds, FDS_MAX), r;
    int request[2];

    if (n < 0)
        die(126, text(p->command->name), (int)n);
    connect_agent(p);
    request[0] = build_request(p, argv, envp, fds, (uint32_t)n);
    request[1] = (int)sys4(SYS_openat, AT_FDCWD, ".", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (request[1] < 0)
        request[1] = (int)sys4(SYS_openat, AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    r = message_send(p->agent, AGENT_REQUEST, 0, request, 2);
    for (long i = 0; i < n && !r; i += AGENT_FDS)
        r = message_send(p->agent, AGENT_MORE, 0, fds + i,
                         (size_t)(n - i < AGENT_FDS ? n - i : AGENT_FDS));
    if (r)
        fail(p, 126, NO_AGENT);
    /* Ours would keep pipes open that the program closes. Standard error stays, for a last word. */
    for (long i = 0; i < n; i++)
        if (fds[i] != 2)
            sys1(SYS_close, fds[i]);
    sys1(SYS_close, request[0]);
    sys1(SYS_close, request[1]);
}

/* ---- standing for it ---- */

static void
take_signals(struct proxy *p)
{
    uint64_t all = ~0UL;

    sys4(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &all, &p->blocked, 8);
    for (int i = 1; i <= AGENT_SIGNALS; i++) {
        struct kernel_sigaction sa;

        if (!sys4(SYS_rt_sigaction, i, 0, &sa, 8) && (unsigned long)sa.handler == 1)
            p->ignored |= 1UL << (i - 1);
    }
}

/* Let signal @number do to this process what it does by default. */
static void
suffer(int number)
{
    struct kernel_sigaction plain = {0};
    uint64_t mask = ~(1UL << (number - 1)), all = ~0UL;

    sys4(SYS_rt_sigaction, number, &plain, 0, 8);
    sys2(SYS_kill, sys0(SYS_getpid), number);
    sys4(SYS_rt_sigprocmask, 2, &mask, 0, 8);
    sys4(SYS_rt_sigprocmask, 2, &all, 0, 8);
}

static _Noreturn void
end_alike(int status)
{
    if (WIFSIGNALED(status)) {
        sys2(SYS_prctl, PR_SET_DUMPABLE, 0); /* the core is the program's */
        suffer(WTERMSIG(status));
        quit(128 + WTERMSIG(status));
    }
    quit(WEXITSTATUS(status));
}

static bool
is_of_terminal(int number)
{
    return number == SIGINT || number == SIGQUIT || number == SIGTSTP || number == SIGTTIN ||
           number == SIGTTOU || number == SIGHUP || number == SIGWINCH || number == SIGCONT;
}

static void
pass_signals(const struct proxy *p)
{
    struct {
        uint32_t number;
        int32_t error, code;
        char rest[116];
    } info;

    while (sys3(SYS_read, p->signals, &info, sizeof(info)) == sizeof(info)) {
        bool both = p->together && info.code == FROM_KERNEL && is_of_terminal((int)info.number);

        if (info.number != SIGCHLD && !both)
            message_send(p->agent, AGENT_SIGNAL, (int)info.number, NULL, 0);
    }
}

static _Noreturn void
say_failure(const struct proxy *p, int err)
{
    if (err == ENOENT)
        fail(p, 127, "no such command on the host");
    engine_say(text(p->command->name), ": the host cannot execute it", error_text(-err));
    quit(126);
}

static void
take_message(struct proxy *p)
{
    struct agent_message m;
    int fds[AGENT_FDS];
    size_t n;

    if (message_receive(p->agent, &m, fds, &n) <= 0)
        fail(p, 126, p->started ? "the host agent died, and the command with it" : NO_AGENT);
    switch (m.kind) {
    case AGENT_STARTED:
        p->started = true;
        p->together = m.value;
        break;
    case AGENT_FAILED:
        say_failure(p, m.value);
    case AGENT_STOPPED:
        suffer(m.value);
        message_send(p->agent, AGENT_SIGNAL, SIGCONT, NULL, 0);
        break;
    case AGENT_ENDED:
        end_alike(m.value);
    }
}

_Noreturn void
proxy_run(const struct exec_state *state, char **argv, char **envp)
{
    struct proxy p = {.state = state};
    struct pollfd polls[2];
    uint64_t all = ~0UL;

    if ((uint32_t)state->command >= engine.plan->commands.n)
        die(126, "the state of an execution", -EBADMSG);
    p.command = (const struct plan_command *)(engine.fs.strings + engine.plan->commands.off) +
                state->command;
    if (state->cwd[0] == '!') {
        engine_say(text(p.command->name),
                   ": the host has no such directory as the working directory ", state->cwd + 1);
        quit(126);
    }
    take_signals(&p);
    hand_over(&p, argv, envp);
    p.signals = (int)sys4(SYS_signalfd4, -1, &all, 8, O_CLOEXEC | O_NONBLOCK);
    if (p.signals < 0)
        die(126, text(p.command->name), p.signals);
    polls[0] = (struct pollfd){.fd = p.agent, .events = POLLIN};
    polls[1] = (struct pollfd){.fd = p.signals, .events = POLLIN};
    for (;;) {
        if (sys3(SYS_poll, polls, 2, -1) < 0)
            continue;
        if (polls[1].revents)
            pass_signals(&p);
        if (polls[0].revents)
            take_message(&p);
    }
}
