/* The plan: everything the loader needs to run programs in one container, compiled by Python into
 * one mapped file.
 *
 * Little-endian; every offset counts from the start of the file; a string is NUL-terminated bytes.
 * Written by runtime/lpmx_runtime/plan.py, read by loader/plan.c, which checks all of it before
 * use. */
#ifndef LPMX_PLAN_H
#define LPMX_PLAN_H

#include "uufs/uufs.h"

#define PLAN_MAGIC   "LPMXPLAN"
#define PLAN_VERSION 1u

enum plan_flags {
    PLAN_READ_ONLY = 1, /* --read-only */
    PLAN_IDENTITY = 2,  /* show uid/gid below instead of the real ones */
    PLAN_FAKEROOT =
        16, /* --fakeroot: remembered owners, emulated credentials (with PLAN_IDENTITY) */
    PLAN_EXTRAS_BESIDE = 32, /* see uufs/owner.h */
    PLAN_CLEAR_ENV = 4, /* a plan start takes its environment from the plan alone (plus TERM) */
    PLAN_TRAP = 8,      /* LPMX_ENGINE=trap: every call comes by the signal, see fast/ */
    PLAN_EAGER = 64,    /* LPMX_ENGINE=eager: call sites are rewritten at the first trap */
};

struct plan_list { /* n struct uufs_string at off */
    uint32_t off, n;
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
};

#endif
