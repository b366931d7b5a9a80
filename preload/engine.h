/* The resident engine: what the loader leaves in every process of a container, shared by loader,
 * trap and calls.
 *
 * One instance a process, set up before the program's first instruction and constant afterwards (so
 * threads and vfork children need no lock), except for the shadow of the program's own SIGSYS
 * action. */
#ifndef LPMX_ENGINE_H
#define LPMX_ENGINE_H

#include "plan.h"

#define ENGINE_VERSION "0.1.0"
/* The variable that carries a program's identity through execve; taken out of the environment
 * before it starts. */
#define STATE_PREFIX "LPMX_EXEC="

struct kernel_sigaction {
    void *handler;
    unsigned long flags;
    void *restorer;
    uint64_t mask;
};

struct engine {
    const struct plan *plan;
    struct uufs fs;
    const char *plan_path;
    const char *exe;      /* container path of the running program */
    const char *interp;   /* host path of its ELF interpreter; "" for none, NULL before the first */
    const char *loader;   /* host path of this very executable: the filter knows no other's code,
                             while the plan may have been written by another version since */
    char agent[48];       /* name of the run's host agent, see agent/agent.h; "" for none */
    bool marks_processes; /* see calls/vfork.c */
    /* to be called before a handler for the C library's cancellation signal is installed */
    void (*expect_cancellation)(void);
    uint8_t late_filter; /* enum trap_late: the filter that this process has beside the first */
    struct kernel_sigaction sigsys; /* what the program believes its SIGSYS action to be */
    size_t kept;                    /* bytes of room[] */
    /* the strings above and the plan, one behind the other */
    char room[8 * LPMX_PATH_MAX] __attribute__((aligned(8)));
};

extern struct engine engine;

/* Every program start pays for each page of ours that it writes to: what all of them write lies
 * together. */
#define HOT      __attribute__((section(".bss.hot.small")))
#define HOT_LAST __attribute__((section(".bss.hot.zlast"))) /* its beginning only */

/* loader/plan.c: map the plan at @path with its view and dirty map. 0, or -errno and the offending
 * file in *what. */
int plan_load(struct engine *e, const char *path, const char **what);

/* loader/state.c */
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
    const char *cred;   /* credentials under root emulation (calls/cred.h), else "" */
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

/* loader/elf.c */
struct elf_image {
    uint64_t bias, entry, phdr;
    uint64_t code, code_end, data, data_end; /* as the kernel counts them */
    uint32_t phnum, phent;
    bool exec_stack;
};
/* A file of which the first bytes are read already, which mostly are all that headers need. */
#define ELF_HEAD 1024
struct elf_file {
    int fd;
    size_t n; /* bytes of head[] */
    char head[ELF_HEAD];
};
/* Read the head of @fd. 0 or -errno. */
int elf_read_head(struct elf_file *f, int fd);
/* Check a header: 0, -ENOEXEC (not ELF), -ELIBBAD (damaged or foreign). */
int elf_check(const void *head, size_t size);
/* The PT_INTERP of @f into @interp ("" when static). */
int elf_interp(const struct elf_file *f, char *interp, size_t cap);
/* Can the file be the interpreter of a program? 0, -EIO (cut off), -ELIBBAD. */
int elf_check_interp(const struct elf_file *f);
/* Map the program at host path @host; @main programs get the address range the kernel gives to
 * PIEs. */
int elf_map(const char *host, bool is_main, struct elf_image *image);

/* trap/ */
void trap_install_handler(void);
int trap_install_filter(uint32_t plan_flags); /* enum plan_flags */
/* Go to @entry with the stack @sp and the signal mask @mask, both at the same moment. */
_Noreturn void trap_leave(const void *sp, uint64_t entry, uint64_t mask);
enum trap_late {
    TRAP_NAMES = 1,    /* calls that ask for the address of a peer */
    TRAP_MESSAGES = 2, /* and those of which only the program's memory tells whether they do */
};
/* A filter more for all threads of this process. 0 or -errno. */
int trap_install_late(enum trap_late level);

/* messages on the way to a start; inside a program the engine is silent */
void engine_say(const char *a, const char *b, const char *c);

#endif
