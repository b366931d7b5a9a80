/* The agent itself: one process, one loop over connections, children and the end of its run.
 *
 * It ends when no program of the run is left: first the one it was started for, then whatever that
 * left running, which is recognised by the agent's name in its environment. */
#include "agent.h"

#include "../base/libc.h"
#include "../base/str.h"
#include "../engine/engine.h"
#include "message.h"
#include "spawn.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

COLD_FILE;

#define CONNECTIONS 512
#define WATCHED     64
#define REQUEST_MAX (64u << 20)
#define BACKLOG     4096
#define WITHOUT_PIDFD_MS                                                                           \
    500 /* before Linux 5.3 nothing tells the end of a process that is no child */

struct connection {
    int fd;                      /* -1: free */
    int child;                   /* 0: not started */
    int directory;               /* -1: none */
    struct agent_request *query; /* NULL: not yet received */
    int *fds;                    /* of the program, as many as were received */
    uint32_t n_fds;
};

struct agent {
    int listener, children, parent; /* parent: a pidfd, or -1 */
    int parent_pid;
    bool parent_ended;
    char **env;
    char name[48];
    struct connection connections[CONNECTIONS];
    int watched[WATCHED], n_watched; /* pidfds of what the run left running */
};

static struct agent agent;
static char **taken; /* the host's variables */

/* ---- connections ---- */

static void
release_memory(void *p, size_t size)
{
    if (p)
        sys2(SYS_munmap, p, size);
}

/* What was received is no longer needed once the program has its copy. */
static void
forget_request(struct connection *c)
{
    for (uint32_t i = 0; i < c->n_fds; i++)
        sys1(SYS_close, c->fds[i]);
    if (c->directory >= 0)
        sys1(SYS_close, c->directory);
    if (c->query) {
        release_memory(c->fds, (c->query->n_fds + 1) * sizeof(int));
        release_memory(c->query, c->query->size);
    }
    c->query = NULL;
    c->fds = NULL;
    c->n_fds = 0;
    c->directory = -1;
}

static void
close_connection(struct connection *c)
{
    forget_request(c);
    sys1(SYS_close, c->fd);
    c->fd = -1;
    c->child = 0;
}

/* The proxy is gone: killed, since otherwise it would have waited. So is what it stood for. */
static void
abandon(struct connection *c)
{
    if (c->child)
        sys2(SYS_kill, c->child, SIGKILL);
    close_connection(c);
}

static void
accept_connection(void)
{
    long fd = sys4(SYS_accept4, agent.listener, 0, 0, SOCK_CLOEXEC);

    if (fd < 0)
        return;
    for (size_t i = 0; i < CONNECTIONS && message_peer_is_own((int)fd); i++)
        if (agent.connections[i].fd < 0) {
            agent.connections[i] = (struct connection){.fd = (int)fd, .directory = -1};
            return;
        }
    sys1(SYS_close, fd);
}

static bool
has_room(void)
{
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (agent.connections[i].fd < 0)
            return true;
    return false;
}

/* ---- a request ---- */

static bool
strings_fit(const struct agent_request *q, uint32_t off, uint32_t n)
{
    const char *base = (const char *)q;

    for (; n; n--) {
        while (off < q->size && base[off])
            off++;
        if (off++ >= q->size)
            return false;
    }
    return true;
}

static bool
request_ok(const struct agent_request *q, uint64_t size)
{
    return q->size == size && q->argc && q->fds % 4 == 0 && q->fds <= size &&
           q->n_fds <= (size - q->fds) / sizeof(int32_t) && strings_fit(q, q->argv, q->argc) &&
           strings_fit(q, q->env, q->envc) && strings_fit(q, q->command, 1) &&
           strings_fit(q, q->cwd, 1) && ((const char *)q)[q->command];
}

/* A private copy: the sender keeps its descriptor. */
static int
read_request(struct connection *c, int memfd)
{
    long size = sys3(SYS_lseek, memfd, 0, 2 /* SEEK_END */);
    struct agent_request *q;
    long done = 0;

    if (size < (long)sizeof(*q) || size > REQUEST_MAX)
        return -EBADMSG;
    q = message_memory((size_t)size);
    if (!q)
        return -ENOMEM;
    while (done < size) {
        long n = sys4(SYS_pread64, memfd, (char *)q + done, size - done, done);

        if (n <= 0)
            break;
        done += n;
    }
    if (done == size && request_ok(q, (uint64_t)size))
        c->fds = message_memory((q->n_fds + 1) * sizeof(int));
    if (!c->fds) {
        release_memory(q, (size_t)size);
        return -EBADMSG;
    }
    c->query = q;
    return 0;
}

static void
start_program(struct connection *c)
{
    bool together = c->query->session == (int)sys1(SYS_getsid, 0);
    long pid = sys0(SYS_fork);

    if (pid == 0)
        spawn_program(c->query, c->directory, c->fds, c->fd, agent.env);
    if (pid > 0)
        c->child = (int)pid;
    message_send(c->fd, pid > 0 ? AGENT_STARTED : AGENT_FAILED, pid > 0 ? together : (int)-pid,
                 NULL, 0);
    if (pid > 0)
        forget_request(c);
    else
        close_connection(c);
}

static int
take_message(struct connection *c)
{
    struct agent_message m;
    int fds[AGENT_FDS];
    size_t n;
    long r = message_receive(c->fd, &m, fds, &n);

    if (r <= 0)
        return -EPIPE;
    if (m.kind == AGENT_REQUEST && n == 2 && !c->query && !c->child) {
        r = read_request(c, fds[0]);
        sys1(SYS_close, fds[0]);
        c->directory = fds[1];
        n = 0;
    } else if (m.kind == AGENT_MORE && c->query && n <= c->query->n_fds - c->n_fds) {
        memcpy(c->fds + c->n_fds, fds, n * sizeof(*fds));
        c->n_fds += (uint32_t)n;
        n = 0;
    } else if (m.kind == AGENT_SIGNAL && c->child) {
        sys2(SYS_kill, c->child, m.value);
    } else if (m.kind != AGENT_SIGNAL) {
        r = -EBADMSG;
    }
    for (size_t i = 0; i < n; i++)
        sys1(SYS_close, fds[i]);
    if (r >= 0 && c->query && c->n_fds == c->query->n_fds)
        start_program(c);
    return r < 0 ? (int)r : 0;
}

/* ---- children ---- */

static struct connection *
connection_of(long child)
{
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (agent.connections[i].fd >= 0 && agent.connections[i].child == child)
            return &agent.connections[i];
    return NULL;
}

static void
reap_children(void)
{
    char drop[128 * 8]; /* struct signalfd_siginfo */
    int status;
    long pid;

    while (sys3(SYS_read, agent.children, drop, sizeof(drop)) > 0)
        ;
    while ((pid = sys4(SYS_wait4, -1, &status, WNOHANG | WUNTRACED, 0)) > 0) {
        struct connection *c = connection_of(pid);

        if (!c)
            continue;
        if (WIFSTOPPED(status)) {
            message_send(c->fd, AGENT_STOPPED, WSTOPSIG(status), NULL, 0);
            continue;
        }
        message_send(c->fd, AGENT_ENDED, status, NULL, 0);
        c->child = 0;
        close_connection(c);
    }
}

/* ---- the end of the run ---- */

/* Does the environment that process @pid was started with name this agent? */
static bool
is_of_run(const char *pid, size_t pid_len)
{
    char path[64] = "/proc/", buf[4096];
    size_t len = 6, name_len = strlen(agent.name), kept = 0;
    bool found = false;
    long n, fd;

    if (str_append(path, sizeof(path), &len, pid, pid_len) ||
        str_append(path, sizeof(path), &len, "/environ", 8))
        return false;
    fd = sys4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return false;
    while (!found && (n = sys3(SYS_read, fd, buf + kept, sizeof(buf) - kept)) > 0) {
        size_t size = kept + (size_t)n;

        for (size_t i = 0; i + name_len <= size && !found; i++)
            found = buf[i] == agent.name[0] && !memcmp(buf + i, agent.name, name_len);
        kept = size < name_len ? size : name_len - 1;
        memmove(buf, buf + size - kept, kept);
    }
    sys1(SYS_close, fd);
    return found;
}

static void
watch(long pid)
{
    long fd = agent.n_watched < WATCHED ? sys2(SYS_pidfd_open, pid, 0) : -1;

    if (fd >= 0)
        agent.watched[agent.n_watched++] = (int)fd;
}

/* Look for programs of the run, and watch them; how many there are. */
static unsigned
find_programs(void)
{
    char buf[4096] __attribute__((aligned(8)));
    unsigned found = 0;
    long n, dir = sys4(SYS_openat, AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

    while (agent.n_watched)
        sys1(SYS_close, agent.watched[--agent.n_watched]);
    while (dir >= 0 && (n = sys3(SYS_getdents64, dir, buf, sizeof(buf))) > 0) {
        for (long at = 0; at < n;) {
            const char *name = buf + at + 19; /* struct linux_dirent64 */
            long pid = 0;

            at += *(const uint16_t *)(buf + at + 16);
            for (const char *p = name; *p >= '0' && *p <= '9'; p++)
                pid = pid * 10 + *p - '0';
            if (pid && is_of_run(name, strlen(name))) {
                watch(pid);
                found++;
            }
        }
    }
    if (dir >= 0)
        sys1(SYS_close, dir);
    return found;
}

static void
end_with_run(void)
{
    if (!agent.parent_ended && agent.parent < 0)
        agent.parent_ended = sys2(SYS_kill, agent.parent_pid, 0) != 0;
    /* twice: a program may have started another one and ended while we looked */
    if (agent.parent_ended && !find_programs() && !find_programs())
        for (;;)
            sys1(SYS_exit_group, 0);
}

/* ---- the loop ---- */

static size_t
fill_polls(struct pollfd *polls)
{
    size_t n = 0;

    polls[n++] = (struct pollfd){.fd = agent.children, .events = POLLIN};
    polls[n++] = (struct pollfd){.fd = has_room() ? agent.listener : -1, .events = POLLIN};
    polls[n++] = (struct pollfd){.fd = agent.parent_ended ? -1 : agent.parent, .events = POLLIN};
    for (int i = 0; i < agent.n_watched; i++)
        polls[n++] = (struct pollfd){.fd = agent.watched[i], .events = POLLIN};
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (agent.connections[i].fd >= 0)
            polls[n++] = (struct pollfd){.fd = agent.connections[i].fd, .events = POLLIN};
    return n;
}

static void
serve_connections(const struct pollfd *polls, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!polls[i].revents)
            continue;
        for (size_t j = 0; j < CONNECTIONS; j++)
            if (agent.connections[j].fd == polls[i].fd) {
                if (take_message(&agent.connections[j]) && agent.connections[j].fd >= 0)
                    abandon(&agent.connections[j]);
                break;
            }
    }
}

static _Noreturn void
serve(void)
{
    static struct pollfd polls[CONNECTIONS + WATCHED + 3];

    for (;;) {
        bool blind = agent.parent < 0 || (agent.parent_ended && !agent.n_watched);
        size_t n = fill_polls(polls), first = 3 + (size_t)agent.n_watched;
        long ready = sys3(SYS_poll, polls, n, blind ? WITHOUT_PIDFD_MS : -1);
        bool look = ready == 0;

        if (ready < 0)
            continue;
        if (polls[2].revents)
            look = agent.parent_ended = true;
        for (size_t i = 3; i < first; i++)
            look = look || polls[i].revents;
        if (polls[0].revents)
            reap_children();
        serve_connections(polls + first, n - first);
        if (polls[1].revents)
            accept_connection();
        if (look)
            end_with_run();
    }
}

/* ---- start ---- */

/* Away from the caller's terminal signals and files, but in its session, so that programs can be.
 */
static int
settle(void)
{
    static const int ignored[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGPIPE, SIGALRM, SIGTSTP,
                                  SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2, SIGTERM};
    struct kernel_sigaction ignore = {(void *)1, 0, 0, 0}, plain = {0};
    uint64_t child = 1UL << (SIGCHLD - 1);
    struct agent_limit files;
    int *open = message_memory(65536 * sizeof(int));
    long n = open ? message_descriptors(open, 65536) : -ENOMEM, null;

    for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
        sys4(SYS_rt_sigaction, ignored[i], &ignore, 0, 8);
    sys4(SYS_rt_sigaction, SIGCHLD, &plain, 0, 8);
    sys4(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &child, 0, 8);
    sys2(SYS_setpgid, 0, 0);
    sys1(SYS_chdir, "/");
    sys2(SYS_prctl, PR_SET_NAME, "lpmx-agent");
    if (!sys4(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, &files)) {
        files.current = files.maximum;
        sys4(SYS_prlimit64, 0, RLIMIT_NOFILE, &files, 0);
    }
    for (long i = 0; i < n; i++)
        if (open[i] != agent.listener && open[i] != agent.parent)
            sys1(SYS_close, open[i]);
    release_memory(open, 65536 * sizeof(int));
    null = sys4(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR, 0);
    for (long i = null < 0 ? 3 : null + 1; i < 3; i++)
        sys2(SYS_dup2, null, i);
    agent.children = (int)sys4(SYS_signalfd4, -1, &child, 8, O_CLOEXEC | O_NONBLOCK);
    for (size_t i = 0; i < CONNECTIONS; i++)
        agent.connections[i].fd = -1;
    return n < 0 ? (int)n : agent.children;
}

/* A name nobody can guess, so that nobody takes it first. */
static int
choose_name(void)
{
    static const char hex[] = "0123456789abcdef";
    unsigned char random[16];
    size_t len = 0;
    int err = str_append(agent.name, sizeof(agent.name), &len, "lpmx-", 5);

    if (sys3(SYS_getrandom, random, sizeof(random), 0) != sizeof(random))
        return -EIO;
    for (size_t i = 0; i < sizeof(random) && !err; i++) {
        char pair[2] = {hex[random[i] >> 4], hex[random[i] & 15]};

        err = str_append(agent.name, sizeof(agent.name), &len, pair, 2);
    }
    return err;
}

/* The listening socket, above the numbers of standard files, which settle() replaces. */
static int
listen_at_name(void)
{
    struct sockaddr_un address;
    size_t size;
    long fd, high;
    int err = choose_name();

    if (!err)
        err = message_address(agent.name, &address, &size);
    if (err)
        return err;
    fd = sys3(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return (int)fd;
    high = sys3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 3);
    sys1(SYS_close, fd);
    if (high < 0)
        return (int)high;
    err = (int)sys3(SYS_bind, high, &address, size);
    if (!err)
        err = (int)sys2(SYS_listen, high, BACKLOG);
    if (err)
        sys1(SYS_close, high);
    return err ? err : (int)high;
}

char **
agent_take_environment(char **envp)
{
    const size_t prefix = sizeof(AGENT_ENV_PREFIX) - 1;
    size_t n = 0, kept = 0, host = 0;

    while (envp[n])
        n++;
    for (size_t i = 0; i < n; i++)
        host += !strncmp(envp[i], AGENT_ENV_PREFIX, prefix);
    taken = host ? message_memory((host + 1) * sizeof(*taken)) : NULL;
    if (!taken)
        return envp;
    host = 0;
    for (size_t i = 0; i < n; i++) {
        if (strncmp(envp[i], AGENT_ENV_PREFIX, prefix))
            envp[kept++] = envp[i];
        else
            taken[host++] = envp[i] + prefix;
    }
    envp[kept] = NULL;
    return envp;
}

/* Two forks: the program must not find a child that it did not start. */
static long
fork_away(void)
{
    long pid = sys0(SYS_fork), status;

    if (pid)
        return pid < 0 ? pid : (sys4(SYS_wait4, pid, &status, 0, 0), pid);
    pid = sys0(SYS_fork);
    if (pid)
        for (;;)
            sys1(SYS_exit_group, 0);
    return 0;
}

int
agent_start(char **envp, char *name, size_t cap)
{
    size_t len = 0;
    long pid;

    agent.env = taken ? taken : envp;
    agent.parent_pid = (int)sys0(SYS_getpid);
    agent.listener = listen_at_name();
    if (agent.listener < 0)
        return agent.listener;
    agent.parent = (int)sys2(SYS_pidfd_open, agent.parent_pid, 0);
    if (agent.parent >= 0 && agent.parent < 3) { /* as the listener */
        int high = (int)sys3(SYS_fcntl, agent.parent, F_DUPFD_CLOEXEC, 3);

        sys1(SYS_close, agent.parent);
        agent.parent = high;
    }
    pid = fork_away();
    if (pid == 0 && settle() >= 0)
        serve();
    if (pid == 0)
        for (;;)
            sys1(SYS_exit_group, 125);
    sys1(SYS_close, agent.listener);
    if (agent.parent >= 0)
        sys1(SYS_close, agent.parent);
    if (pid < 0)
        return (int)pid;
    return str_append(name, cap, &len, agent.name, strlen(agent.name));
}
