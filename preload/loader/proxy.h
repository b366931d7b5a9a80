/* The loader's life as a command of the host. */
#ifndef LPMX_PROXY_H
#define LPMX_PROXY_H

#include "../engine/execstate.h"

/* The fourth life of the loader: stand for a program of the host. */
_Noreturn void proxy_run(const struct exec_state *state, char **argv, char **envp);

#endif
