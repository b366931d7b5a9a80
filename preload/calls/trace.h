/* PTRACE_TRACEME. */
#ifndef LPMX_TRACE_H
#define LPMX_TRACE_H

#include "../base/sys.h"

void trace_before_exec(void);
/* Has this thread asked to be traced? */
bool trace_is_wanted(void);
void trace_mark_traced(void); /* in the image that such a one executes */

#endif
