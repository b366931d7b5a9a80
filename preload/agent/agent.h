/* The host agent: starts programs of the host for the programs of one run of a container.
 *
 * A program of a container has our filter and no_new_privs, and nothing it starts can shed them. So
 * a start whose plan maps commands to the host forks the agent first. It waits at a socket with a
 * random name in the abstract namespace; both sides check that the other is of their own user. The
 * command itself stays in the container as a proxy (proxy.c): it hands over arguments, environment,
 * descriptors and all that a plain exec would keep, passes signals on, and ends as the program
 * ended.
 *
 * One connection is one program. Its bulk travels in a memfd, because a message has a size limit.
 */
#ifndef LPMX_AGENT_H
#define LPMX_AGENT_H

#include "../engine.h"

/* The host's own variables reach the loader under names with this prefix, beside those of the
 * container. */
#define AGENT_ENV_PREFIX "LPMX_HOST:"
#define AGENT_FDS        200 /* descriptors in one message; the kernel takes 253 */
#define AGENT_LIMITS     16  /* RLIM_NLIMITS */
#define AGENT_SIGNALS    64

enum agent_kind {
    AGENT_REQUEST, /* to the agent, with a memfd (struct agent_request) and the directory */
    AGENT_MORE,    /* to the agent: the next descriptors for the program, in order */
    AGENT_SIGNAL,  /* to the agent: signal number */
    AGENT_STARTED, /* from it: 1 when the program is in the proxy's process group, else 0 */
    AGENT_FAILED,  /* from it: errno of the exec */
    AGENT_STOPPED, /* from it: by this signal */
    AGENT_ENDED,   /* from it: wait status; the last message */
};

struct agent_message {
    int32_t kind, value;
};

struct agent_limit {
    uint64_t current, maximum;
};

/* Start of the memfd. Offsets count from here; argv and env are NUL-terminated strings in a row. */
struct agent_request {
    uint32_t size;
    uint32_t argc, argv, envc, env;
    uint32_t n_fds, fds; /* int32_t: the number each descriptor has in the program */
    uint32_t command;    /* absolute path, or a name for PATH */
    uint32_t cwd;        /* "": the descriptor that came with the request */
    int32_t group, session, nice;
    uint32_t umask;
    uint32_t cpu_size;
    uint64_t ignored, blocked; /* signal sets */
    struct agent_limit limits[AGENT_LIMITS];
    unsigned char cpus[1024];
};

/* Split the host's variables off @envp; what is left of it. */
char **agent_take_environment(char **envp);
/* Fork the agent, before the filter is installed; its name into @name. Its programs get the host's
 * variables, where there were any to take, else @envp. */
int agent_start(char **envp, char *name, size_t cap);

/* The fourth life of the loader: stand for a program of the host. */
_Noreturn void proxy_run(const struct exec_state *state, char **argv, char **envp);

/* ---- between the files of this folder ---- */

/* spawn.c: in a fresh child of the agent: become the program. @fds are the received descriptors. */
_Noreturn void spawn_program(const struct agent_request *q, int directory, const int *fds,
                             int connection, char **host_env);
/* The entry of @env for variable @name of @len bytes, or NULL. */
const char *spawn_variable(char **env, const char *name, size_t len);

/* message.c */
int message_address(const char *name, void *address, size_t *size); /* a struct sockaddr_un */
bool message_peer_is_own(int fd);
long message_send(int fd, int kind, int value, const int *fds, size_t n);
/* 1, 0 at the end of the connection, or -errno. @fds (room for AGENT_FDS) gets *n descriptors. */
long message_receive(int fd, struct agent_message *m, int *fds, size_t *n);
/* The open descriptors of this process, ascending, but for the one used to look: their number or
 * -errno. */
long message_descriptors(int *out, size_t cap);
void *message_memory(size_t size); /* fresh zeros, or NULL */

#endif
