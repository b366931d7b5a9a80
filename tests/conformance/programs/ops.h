/* Carries out the lines of a script of file operations and answers each with one line, the same on
 * every correct system. What it is not: a shell; nothing here depends on a libc's own ideas. */
#ifndef OPS_H
#define OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The kernel's own call, or with BY_LIBC the C library's function, whose call sites the engine's
 * fast path rewrites. */
#ifdef BY_LIBC
#define DO(name, ...)  (name)(__VA_ARGS__)
#define FSTATAT(...)   fstatat(__VA_ARGS__)
#define FACCESSAT(...) faccessat(__VA_ARGS__)
#define FCHMODAT(...)  fchmodat(__VA_ARGS__, 0)
#else
#define DO(name, ...)  syscall(SYS_##name, __VA_ARGS__)
#define FSTATAT(...)   syscall(SYS_newfstatat, __VA_ARGS__)
#define FACCESSAT(...) syscall(SYS_faccessat2, __VA_ARGS__)
#define FCHMODAT(...)  syscall(SYS_fchmodat, __VA_ARGS__)
#endif

#define MAX_WORKERS 8
#define MAX_SLOTS   32
#define MAX_WORDS   12
#define FIRST_SLOT  100 /* a slot is a descriptor number: fork and exec keep it without a table */
#define FIRST_PIPE  200
#define MAX_TEXT    65536

/* A growing answer. */
struct reply {
    char *text;
    size_t used, cap;
};

void reply_add(struct reply *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
void reply_escaped(struct reply *r, const void *bytes, size_t n);

/* One line of the script: the operation's name and its arguments, unescaped. */
struct line {
    unsigned n;
    char *word[MAX_WORDS];
};

long arg_number(const struct line *l, unsigned i);
/* Slot argument: -1 is AT_FDCWD, others a descriptor. */
int arg_slot(const struct line *l, unsigned i);
/* Path argument as this run's root has it. Two may be used at a time. */
const char *arg_path(const struct line *l, unsigned i);
/* Text that the system told (a link's target, the working directory) as the container has it. */
const char *shown_path(const char *path);

/* Where absolute paths begin: "" but for a plain tree that is no root. */
extern char plain_root[];

/* Answer @result as "NUMBER" or "E<errno>"; true when it is no error. */
bool reply_result(struct reply *r, long result);
void reply_hash(struct reply *r, const void *data, size_t n);

/* ---- tree.c ---- */
void op_scan(const struct line *l, struct reply *r);
void op_list(const struct line *l, struct reply *r);
void op_dump(const struct line *l, struct reply *r);
void reply_stat(struct reply *r, int dirfd, const char *path, int flags);

/* ---- fileops.c ---- */
/* False: there is no such operation. */
bool op_run(const struct line *l, struct reply *r);
void slot_paths_reload(void);

#endif
