/* What the agent and a proxy send to each other. */
#ifndef LPMX_PROTOCOL_H
#define LPMX_PROTOCOL_H

#include "../base/sys.h"

#define AGENT_FDS     200 /* descriptors in one message; the kernel takes 253 */
#define AGENT_LIMITS  16  /* RLIM_NLIMITS */
#define AGENT_SIGNALS 64

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

#endif
