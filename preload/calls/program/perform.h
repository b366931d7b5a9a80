/* The kernel carries a call out. */
#ifndef LPMX_PERFORM_H
#define LPMX_PERFORM_H

#include "call.h"

/* Before signals may arrive inside a handler: a second signal frame would be written over ours,
 * which the kernel takes for gone because we left its stack. The program's handlers get a part of
 * ours instead, until the call returns. */
void call_guard_signal_stack(const struct call *c);
/* Perform @nr with the thread's own mask, so that signals interrupt it as they would without us. */
long call_blocking(const struct call *c, long nr, unsigned long a0, unsigned long a1,
                   unsigned long a2, unsigned long a3, unsigned long a4, unsigned long a5);
/* Perform the call as it came, on the kernel's terms. */
long call_raw(const struct call *c);

#endif
