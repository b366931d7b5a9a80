/* PTRACE_TRACEME. */
#ifndef LPMX_PTRACE_H
#define LPMX_PTRACE_H

#include "../../base/sys.h"

void ptrace_before_exec(void);
/* Has this thread asked to be traced? */
bool ptrace_is_wanted(void);
void ptrace_mark_traced(void); /* in the image that such a one executes */

#endif
