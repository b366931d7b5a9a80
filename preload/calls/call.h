/* One intercepted system call and the helpers its handlers share. */
#ifndef LPMX_CALL_H
#define LPMX_CALL_H

#include "../engine.h"

struct call_row;
struct stat;

struct signal_stack { /* stack_t */
    void *sp;
    int flags;
    size_t size;
};

struct call {
    const struct call_row *row;
    unsigned long a[6];
    uint64_t *mask;    /* the thread's real signal mask, live again when the call returns */
    bool signal_stack; /* the thread has an alternate signal stack: our own frame is on it */
    struct signal_stack *stack; /* that stack as it will be when the call returns; or NULL */
    unsigned long interrupted;  /* stack pointer of the interrupted code */
    int slot;       /* the stack this handler runs on, see trap/slots.c; -1: none of those */
    bool fast;      /* it came without a signal (fast/): what may wait must be declined */
    const void *sp; /* then: the stack of the program's function, else NULL */
};

/* Stands for "carry it out by the signal": outside the range of results and errors. */
#define CALL_DECLINE ((long)(1UL << 63))

typedef long call_handler(struct call *c);

enum call_intent {
    INTENT_none,
    INTENT_look,
    INTENT_change,
    INTENT_create,
    INTENT_remove,
    INTENT_descriptor
};
enum call_last {
    LAST_follow,
    LAST_nofollow,
    LAST_last,
    LAST_inotify,
    LAST_FLAG_NOFOLLOW = 16,
    LAST_FLAG_FOLLOW = 32
};
#define CALL_CWD    (-1)
#define CALL_NOPATH (-1)

struct call_row {
    uint16_t nr;
    int8_t dirfd, path;
    uint8_t last_how, intent;
    call_handler *run;
};

/* table.c: the row of system call @nr, or NULL. */
const struct call_row *call_find(long nr);

/* user.c: memory of the program is never touched unchecked: a bad pointer answers EFAULT as from
 * the kernel. */
int user_readable(const void *p, size_t size);
int user_writable(void *p, size_t size);
int user_string(char *dst, size_t cap, unsigned long p); /* -EFAULT, -ENAMETOOLONG */
int user_copy(void *dst, unsigned long p, size_t size);
int user_put(unsigned long p, const void *src, size_t size);
/* Does it lie in the page that @sp, a stack in use, points into? Then nobody has to be asked. */
bool user_on_stack(const void *sp, unsigned long p, size_t size);
/* user_copy and user_put for which that is tried first; @sp may be NULL. */
int user_copy_near(const void *sp, void *dst, unsigned long p, size_t size);
int user_put_near(const void *sp, unsigned long p, const void *src, size_t size);

/* resolve.c */
int call_dirfd(const struct call *c);
unsigned call_how(const struct call *c);
/* Container path of a directory descriptor (or AT_FDCWD) into @ctr. -EBADF, -ENOTDIR, -ENOENT when
 * it lies outside. */
int call_base(int dirfd, char *ctr, size_t cap);
/* Container path of any descriptor. */
int call_fd_path(int fd, char *ctr, size_t cap, bool *lower); /* *lower: it lies in a layer */
/* The same (AT_FDCWD too) where @fd's metadata is @st; *node: of the layers' directory that shows
 * there, or VIEW_NONE. */
int call_fd_place(int fd, const struct stat *st, char *ctr, size_t cap, bool *lower,
                  uint32_t *node);
int call_walk(int dirfd, unsigned long user_path, unsigned how, struct uufs_hit *hit);
/* deep.c: where the place from which @path counts, or what it leads to, is too deep for a path. */
int call_walk_deep(int dirfd, const char *path, unsigned how, struct uufs_hit *hit);
/* Does the path end in "." (1) or ".." (2), or is it "/" (3)? 0, or -errno. */
int call_last_is_dots(unsigned long user_path);
/* As call_walk with the row's own columns. */
int call_resolve(const struct call *c, struct uufs_hit *hit);
/* Before something is changed through /proc/self/fd/N: where the file behind it lies in a layer,
 * @hit becomes the name it has in the container; -EROFS when it has none any more. Others are left
 * to the kernel. */
int call_leave_magic(struct uufs_hit *hit);
/* Before metadata or content of a hit changes: EROFS, or a lower file copied up. */
int call_make_writable(struct uufs_hit *hit, enum uufs_copy_how how);
/* Before signals may arrive inside a handler: a second signal frame would be written over ours,
 * which the kernel takes for gone because we left its stack. The program's handlers get a part of
 * ours instead, until the call returns. */
void call_guard_signal_stack(const struct call *c);
/* Perform @nr with the thread's own mask, so that signals interrupt it as they would without us. */
long call_blocking(const struct call *c, long nr, unsigned long a0, unsigned long a1,
                   unsigned long a2, unsigned long a3, unsigned long a4, unsigned long a5);
/* Perform the call as it came, on the kernel's terms. */
long call_raw(const struct call *c);
/* Is the user's path empty (AT_EMPTY_PATH)? 1, 0 or -EFAULT. */
int call_path_empty(const struct call *c);

/* pending.c: before @mask becomes live. With all signals blocked, on a stack of ours; @sp is where
 * the program stands. */
void pending_leave(uint64_t mask, unsigned long sp);
/* To be called before the program starts, with the stack it starts on. */
void pending_start(const void *sp);

/* trace.c */
/* Can the kernel tell (kcmp)? Asked once, at the start of a container. */
bool vfork_compares_memory(void);
void vfork_mark_process(void); /* once in every new image */
/* Does this process run on its parent's memory, as a vfork child does? 1, 0, or -1: it cannot be
 * told. */
int vfork_shares_memory(void);
void trace_before_exec(void);
/* Has this thread asked to be traced? */
bool trace_is_wanted(void);
void trace_mark_traced(void); /* in the image that such a one executes */

/* receive.c: the unix socket @fd is bound: from now on the addresses of peers are shown as the
 * container's. */
void latefilter_for_socket(int fd);
void latefilter_raise(enum trap_late level);

/* The number that begins behind @blanks blanks (behind the command's name, if there is one) in a
 * file of /proc; -1. */
long proc_number(const char *path, unsigned blanks);

/* exec.c */
/* With EXEC_CHECKS for a slot it returns 0 where it would execute. */
#define EXEC_CHECKS (-2)
long exec_program(struct call *c, int dirfd, const char *path, bool follow, char **argv,
                  char **envp);
/* identity.c: what the disk says of a hit, or of a descriptor, becomes what is shown. */
void identity_show(const struct uufs_hit *hit, struct stat *st);
void identity_show_fd(int fd, struct stat *st);
/* path.c: does the call speak of the descriptor itself (AT_EMPTY_PATH)? */
bool call_is_descriptor(const struct call *c);
/* path.c: where descriptor @fd is of a lower file, copy that up and move the descriptor over. 0,
 * -EROFS ... */
int call_descriptor_up(int fd);
/* Replace what descriptor @fd refers to by the upper's copy at @host, same flags and position. */
int call_reopen(int fd, const char *host);
/* path.c: that for the call's first argument, and then the call as it came. */
long call_descriptor(struct call *c);
/* resolve.c: run the row's handler; once more where root emulation has opened the way. */
long call_run(struct call *c);

/* command.c: the exec map, at the moment a command is executed. Nothing here changes the process,
 * so that a vfork child may fail and go on. */
/* The row of the exec map for a hit, or NULL: a program of this container. */
const struct plan_command *command_find(const struct uufs_hit *hit);
/* What the next image has to become. @cwd holds the directory that @state then points to. */
int command_state(const struct plan_command *m, struct exec_state *state, char *cwd, size_t cap);
/* The @n variables of @envp as the command gets them, into @out (room for @n and its own); their
 * number, or -EFAULT. */
long command_environment(const struct plan_command *m, char **envp, long n, char **out);
/* argv[0] as the target knows itself. -EFAULT. */
int command_name(const struct plan_command *m, char **argv);

/* proc.c */
bool proc_is_own(const char *host); /* is a path below /proc/PID this process's? */
int proc_exe_path(const char *host, char *ctr, size_t cap);
/* Part @part of the state string (loader/state.c) of process @pid. 0, 1 (there is none) or -errno.
 */
int proc_state_part(uint32_t pid, size_t part, char *text, size_t cap);

/* procfile.c: files of /proc that are shown with the container's paths. */
bool procfile_is(const struct uufs_hit *hit);
long procfile_open(const struct call *c, const struct uufs_hit *hit, unsigned long flags);
/* The mode of what such a descriptor really is; no other file is likely to have it. */
#define PROCFILE_MODE 0101444
/* The file of /proc for which the magic link @link, or descriptor @fd, stands. False: it is no such
 * one. */
bool procfile_named(const char *link, char *path, size_t cap);
bool procfile_behind(int fd, char *path, size_t cap);

#define CALL(name, handler, ...) call_handler call_##handler;
#define REFUSE(name, error, why)
#include "../calls.def"
#undef CALL
#undef REFUSE

#endif
