/* Messages of a start: inside a program the engine is silent. */
#ifndef LPMX_SAY_H
#define LPMX_SAY_H

/* A message of three parts. */
void engine_say(const char *a, const char *b, const char *c);

/* "lpmx: WHAT: why" on standard error, and the end. */
_Noreturn void die(int status, const char *what, int err);
_Noreturn void quit(int status);
const char *error_text(int err); /* ": why" */
void say(const char *s);

#endif
