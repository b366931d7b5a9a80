/* The loader's first life: start a container. */
#ifndef LPMX_START_H
#define LPMX_START_H

/* Become the first program of a container. */
_Noreturn void start_plan(int argc, char **argv, char **envp);

#endif
