/* A call that was refused (EACCES) because no path leads any more to the directory that its own
 * path counts from, which the program stands in or holds: the kernel does not mind, so it is
 * carried out once more by way of the kernel's link to that directory (uufs/anchor.h). What it is
 * not: a way past permissions. Everything from that directory on is asked of the kernel. */
#ifndef LPMX_ANCHORED_H
#define LPMX_ANCHORED_H

struct call;

/* @c as it came; @r: what it was answered. */
long anchored_retry(struct call *c, long r);

#endif
