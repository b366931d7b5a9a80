/* Executing a program of the container. */
#ifndef LPMX_EXEC_H
#define LPMX_EXEC_H

#include "../program/call.h"

/* With EXEC_CHECKS for a slot it returns 0 where it would execute. */
#define EXEC_CHECKS (-2)
long exec_program(struct call *c, int dirfd, const char *path, bool follow, char **argv,
                  char **envp);

#endif
