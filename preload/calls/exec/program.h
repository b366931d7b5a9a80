/* The program that an execve found. */
#ifndef LPMX_PROGRAM_H
#define LPMX_PROGRAM_H

#include "../../engine/elf.h"
#include "../../engine/plan.h"

/* Pointers kept on the handler's stack; more go into a mapping. */
#define SMALL_VECTOR 2048
#define PROGRAM_ROOM (20 * LPMX_PATH_MAX + SMALL_VECTOR * sizeof(char *))

/* What an execve finds out. Strings lie one behind the other in the room, since each page of the
 * stack that a forked child touches costs it a page fault. */
struct program {
    const char *path;                   /* as executed */
    const char *execfn;                 /* the name first executed */
    const char *exe, *host, *interp;    /* of the program found: see struct exec_state */
    const char *cred;                   /* what root emulation hands on */
    const char *state;                  /* the string for the loader */
    const struct plan_command *command; /* not NULL: it runs elsewhere, see command.c */
    int fd; /* >= 0: a program without a name in the container (memfd), kept open for the loader */
    int from;       /* >= 0: execveat of this very descriptor */
    bool is_traced; /* the kernel's SIGTRAP for its tracer has to wait until it is mapped */
    bool is_lost; /* the name is below a descriptor that the execve closes: no script can be read */
    struct uufs_hit hit; /* of the program, then of its interpreter */
    struct elf_file file;
    size_t used;
    char room[PROGRAM_ROOM] __attribute__((aligned(8)));
};

/* Where the next string may be written, and how long it may be. */
char *program_room(struct program *p, size_t *cap);
/* A string that was written there stays. */
const char *program_keep_text(struct program *p, const char *text);
/* A copy of @text that stays; NULL where there is no room left. */
const char *program_copy_text(struct program *p, const char *text);
/* Does the program begin with "#!"? */
bool program_is_script(const struct program *p);
/* Find p->path, counted from @dirfd, check it and what it needs, and keep that in @p. 0 or -errno.
 */
int program_find(struct program *p, int dirfd, bool follow);

#endif
