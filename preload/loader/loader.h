/* What the lives of the loader share: messages, and entering a container before its first program.
 */
#ifndef LPMX_LOADER_H
#define LPMX_LOADER_H

#include "../engine.h"

/* "lpmx: WHAT: why" on standard error, and the end. */
_Noreturn void die(int status, const char *what, int err);
_Noreturn void quit(int status);
const char *error_text(int err); /* ": why" */
/* The container of the engine's plan becomes ready for programs: every bind has a name. */
void make_mount_points(void);
void enter_cwd(const char *cwd);

/* callee.c: a program of another container, called by way of the exec map. The engine is the
 * callee's already. */
_Noreturn void callee_run(const struct exec_state *state, char **argv, char **envp);

#endif
