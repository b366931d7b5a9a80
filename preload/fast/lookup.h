/* Calls that the view answers without a stack of ours. */
#ifndef LPMX_LOOKUP_H
#define LPMX_LOOKUP_H

#include "../base/sys.h"

/* The answer to call @nr with the arguments @a of a function whose stack is @sp, or CALL_DECLINE.
 */
long lookup_call(long nr, const unsigned long *a, const void *sp);

/* Has the upper nothing of the directory @ctr, nor of what is above it? */
bool lookup_is_bare(const char *ctr, size_t len);

#endif
