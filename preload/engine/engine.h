/* The resident engine: what the loader leaves in every process of a container, shared by loader,
 * trap and calls.
 *
 * One instance a process, set up before the program's first instruction and constant afterwards (so
 * threads and vfork children need no lock), except for the shadow of the program's own SIGSYS
 * action. */
#ifndef LPMX_ENGINE_H
#define LPMX_ENGINE_H

#include "../uufs/uufs.h"

struct plan;

#define ENGINE_VERSION "0.1.0"

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
    bool marks_processes; /* see calls/program/vfork.c */
    /* to be called before a handler for the C library's cancellation signal is installed */
    void (*expect_cancellation)(void);
    uint8_t late_filter; /* enum filter_late: the filter that this process has beside the first */
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

#endif
