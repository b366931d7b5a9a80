/* Calls that the view answers without a stack of ours. */
#ifndef LPMX_QUICK_H
#define LPMX_QUICK_H

#include "../base/sys.h"

/* The answer to call @nr with the arguments @a of a function whose stack is @sp, or CALL_DECLINE.
 */
long quick_call(long nr, const unsigned long *a, const void *sp);

/* Has the upper nothing of the directory @ctr, nor of what is above it? */
bool quick_is_bare(const char *ctr, size_t len);

#endif
