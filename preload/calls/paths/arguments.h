/* Arguments that the kernel judges before it looks at the path. Where the union answers a call by
 * itself nobody would judge them, and where it refuses the path it would speak first. The kernel is
 * asked by the very call, with a path that is none: once in a while, where something is unusual. */
#ifndef LPMX_ARGUMENTS_H
#define LPMX_ARGUMENTS_H

struct call;

/* Before the call is carried out: 0, or what is wrong with its arguments. */
long arguments_check(const struct call *c);
/* The call's path was answered with the error @r: that, or what the kernel says before it. */
long arguments_first(const struct call *c, long r);

#endif
