/* What a program's start hands to the next image of the same process, as one environment string. */
#ifndef LPMX_EXECSTATE_H
#define LPMX_EXECSTATE_H

#include "../base/sys.h"

/* The variable that carries a program's identity through execve; taken out of the environment
 * before it starts. */
#define STATE_PREFIX "LPMX_EXEC="

enum exec_life {
    LIFE_PROGRAM, /* map the program and jump */
    LIFE_CALLEE,  /* enter another container, and execute a program there */
    LIFE_PROXY,   /* stand for a program of the host */
};

enum exec_flags {
    EXEC_MARKS_PROCESSES = 1, /* engine.marks_processes */
    EXEC_TRACED = 2, /* the stop that execve makes for a tracer comes when the program is there */
    EXEC_LATE_FILTER = 4, /* times engine.late_filter */
};

struct exec_state {
    const char *plan, *exe, *host,
        *execfn;        /* plan file, container path, host path to map, AT_EXECFN */
    const char *cred;   /* credentials under root emulation (calls/fakeroot/cred.h), else "" */
    const char *agent;  /* as engine.agent */
    const char *interp; /* host path of the program's ELF interpreter; "" for none */
    const char *cwd;    /* callee, proxy: directory to enter; "" to stay; "!DIR" is the caller's own
                           and not there */
    int flags;          /* enum exec_flags */
    const char *root;   /* as chroot(2) set it, a container path; "" for none */
    int fd;             /* descriptor that only serves to open host, or -1 */
    int life;           /* enum exec_life */
    int command;        /* proxy: row of the exec map */
};

/* Write "LPMX_EXEC=..." to @buf. -E2BIG when it does not fit. */
int state_format(const struct exec_state *s, char *buf, size_t cap);
/* Split @text (after the prefix) in place. -EINVAL when it is not ours. */
int state_parse(char *text, struct exec_state *s);

#endif
