/* Signals that wait for the process while a call is carried out. */
#ifndef LPMX_PENDING_H
#define LPMX_PENDING_H

#include "../../base/sys.h"

/* Before @mask becomes live. With all signals blocked, on a stack of ours; @sp is where the
 * program stands. */
void pending_leave(uint64_t mask, unsigned long sp);
/* To be called before the program starts, with the stack it starts on. */
void pending_start(const void *sp);

#endif
