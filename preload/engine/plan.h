/* The plan: everything the loader needs to run programs in one container, compiled by Python into
 * one mapped file.
 *
 * Little-endian; every offset counts from the start of the file; a string is NUL-terminated bytes.
 * Written by runtime/lpmx_runtime/plans/plan.py, read by engine/plan.c, which checks all of it
 * before use. */
#ifndef LPMX_PLAN_H
#define LPMX_PLAN_H

#include "engine.h"

#define PLAN_MAGIC "LPMXPLAN"
/* A new version needs new names of the files too (PLAN in launch.py and expose.py): processes that
 * an older lpmx started go on reading theirs. */
#define PLAN_VERSION 3u

enum plan_flags {
    PLAN_READ_ONLY = 1, /* --read-only */
    PLAN_IDENTITY = 2,  /* show uid/gid below instead of the real ones */
    PLAN_FAKEROOT =
        16, /* --fakeroot: remembered owners, emulated credentials (with PLAN_IDENTITY) */
    PLAN_EXTRAS_BESIDE = 32, /* see uufs/change/owner.h */
    PLAN_CLEAR_ENV = 4, /* a plan start takes its environment from the plan alone (plus TERM) */
    PLAN_TRAP = 8,      /* LPMX_ENGINE=trap: every call comes by the signal, see fast/ */
    PLAN_EAGER = 128,   /* LPMX_ENGINE=eager: call sites are rewritten at the first trap */
    PLAN_AGENT = 64,    /* a command of it, or of one it calls, is the host's */
};

struct plan_list { /* n struct uufs_string at off */
    uint32_t off, n;
};

enum plan_command_kind {
    COMMAND_CALLEE = 1, /* a program of another container */
    COMMAND_HOST = 2,   /* a program of the host */
};

enum plan_command_flags {
    COMMAND_TRANSLATE = 1, /* host: arguments that are container paths become host paths */
    COMMAND_ASIDE = 2,     /* host: all variables of the caller, under COMMAND_ASIDE_PREFIX */
};

/* Beside the host's own variables, so that a program that acts for the caller knows both. */
#define COMMAND_ASIDE_PREFIX "LPMX_CALLER_"

struct plan_command {        /* a row of the exec map: executing @path runs something else */
    struct uufs_string path; /* canonical container path, below a bind with UUFS_BIND_COMMANDS */
    uint32_t kind, flags;
    struct uufs_string name;    /* what the user mapped, for messages */
    struct uufs_string where;   /* what it was mapped to, for messages */
    struct uufs_string target;  /* callee: path in it; host: absolute path or name on PATH */
    struct uufs_string plan;    /* callee: its plan file */
    struct uufs_string cwd;     /* path of the target to start in; len 0: where the caller stands */
    struct plan_list env_names; /* callee: variables left behind; host: those let through. "NAME",
                                   "PREFIX*", or "NAME=VALUE": where it has just this value */
    struct plan_list env;       /* "K=V" set for it */
};

struct plan_port { /* a published port: what a program binds, and what the host sees */
    uint32_t inside, outside;
};

struct plan {
    char magic[8];
    uint32_t version, size, flags;
    uint32_t uid, gid;                     /* shown identity */
    struct plan_list groups;               /* n uint32_t at off: shown supplementary groups */
    struct uufs_string loader;             /* host path of the loader executable */
    struct uufs_string view;               /* host path of the image view */
    struct uufs_string upper, work, dirty; /* host paths; len 0: none */
    struct plan_list layers, stores;
    struct plan_list binds;       /* n struct uufs_bind at off */
    struct plan_list argv;        /* default command, already joined from entrypoint and cmd */
    struct plan_list env;         /* "K=V" */
    struct uufs_string cwd;       /* container path to start in */
    struct uufs_string container; /* container id, for messages */
    struct plan_list commands;    /* n struct plan_command at off */
    struct plan_list ports;       /* n struct plan_port at off */
};

/* Map the plan at @path with its view and dirty map. 0, or -errno and the offending
 * file in *what. */
int plan_load(struct engine *e, const char *path, const char **what);

#endif
