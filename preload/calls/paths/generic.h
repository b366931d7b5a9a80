/* The generic handlers. */
#ifndef LPMX_GENERIC_H
#define LPMX_GENERIC_H

#include "../program/call.h"

/* Copy up the lower file behind the descriptor that is the call's first argument, if it is one, and
 * carry out the call as it came. */
long call_descriptor(struct call *c);

#endif
