/* What the lives of the loader share: messages, and entering a container before its first program.
 */
#ifndef LPMX_LOADER_H
#define LPMX_LOADER_H

#include "../engine.h"

#include <elf.h>

/* "lpmx: WHAT: why" on standard error, and the end. */
_Noreturn void die(int status, const char *what, int err);
_Noreturn void quit(int status);
const char *error_text(int err); /* ": why" */
void say(const char *s);
/* A copy in the engine's room: the state's own text is in the environment, which programs write
 * over. */
const char *keep_text(const char *text);
/* Make the plan at @path the engine's. */
void load_plan_or_die(const char *path);

/* layout.c: after an execve the kernel knows the program's memory, as if it had mapped it. @sp is
 * the stack it starts with, @env where the strings of its environment lie. */
struct environment_span {
    uint64_t start, end;
};
void layout_tell(const uint64_t *sp, const struct environment_span *env, const Elf64_auxv_t *av,
                 const struct elf_image *program);

/* enter.c */
/* The container of the engine's plan becomes ready for programs: every bind has a name. */
void make_mount_points(void);
void enter_cwd(const char *cwd);
/* Stay in the caller's directory, which is @cwd on the host. What the container shows at that path
 * must be it: a relative name means the same file on both sides, or nothing is started. The root is
 * let through, since daemons stand there without meaning it. */
void stay_here(const char *cwd);

/* explain.c: say what @path of the container, which is there, lacks to be started; false where that
 * is not known. */
bool explain_start(const char *path);
/* The same if its file at @host lies where nothing may be executed. */
bool explain_noexec(const char *path, const char *host);

/* The same for a loader's own file: it cannot be mapped where one is. True. */
bool explain_nested(const char *path);

/* start.c: become the first program of a container. */
_Noreturn void start_plan(int argc, char **argv, char **envp);

/* callee.c: a program of another container, called by way of the exec map. The engine is the
 * callee's already. */
_Noreturn void callee_run(const struct exec_state *state, char **argv, char **envp);

#endif
