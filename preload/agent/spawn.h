/* A fresh child of the agent becomes the program. */
#ifndef LPMX_SPAWN_H
#define LPMX_SPAWN_H

#include "protocol.h"

/* In a fresh child of the agent: become the program. @fds are the received descriptors. */
_Noreturn void spawn_program(const struct agent_request *q, int directory, const int *fds,
                             int connection, char **host_env);
/* The entry of @env for variable @name of @len bytes, or NULL. */
const char *spawn_variable(char **env, const char *name, size_t len);

#endif
