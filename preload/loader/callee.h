/* The loader's life as a program of another container, called by way of the exec map. */
#ifndef LPMX_CALLEE_H
#define LPMX_CALLEE_H

#include "../engine/execstate.h"

/* A program of another container, called by way of the exec map. The engine is the
 * callee's already. */
_Noreturn void callee_run(const struct exec_state *state, char **argv, char **envp);

#endif
