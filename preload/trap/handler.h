/* The handler of SIGSYS, where trapped calls arrive. */
#ifndef LPMX_HANDLER_H
#define LPMX_HANDLER_H

#include "../base/sys.h"

/* trap/ */
void trap_install_handler(void);
/* Go to @entry with the stack @sp and the signal mask @mask, both at the same moment. */
_Noreturn void trap_leave(const void *sp, uint64_t entry, uint64_t mask);

#endif
