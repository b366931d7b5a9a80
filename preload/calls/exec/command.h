/* The exec map, at the moment a command is executed. Nothing here changes the process, so that a
 * vfork child may fail and go on. */
#ifndef LPMX_COMMAND_H
#define LPMX_COMMAND_H

#include "../../engine/execstate.h"
#include "../../engine/plan.h"

/* The row of the exec map for a hit, or NULL: a program of this container. */
const struct plan_command *command_find(const struct uufs_hit *hit);
/* What the next image has to become. @cwd holds the directory that @state then points to. */
int command_state(const struct plan_command *m, struct exec_state *state, char *cwd, size_t cap);
/* The @n variables of @envp as the command gets them, into @out (room for @n and its own); their
 * number, or -EFAULT. */
long command_environment(const struct plan_command *m, char **envp, long n, char **out);
/* argv[0] as the target knows itself. -EFAULT. */
int command_name(const struct plan_command *m, char **argv);

#endif
