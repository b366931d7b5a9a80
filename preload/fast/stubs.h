/* The stubs that rewritten call sites jump to. */
#ifndef LPMX_STUBS_H
#define LPMX_STUBS_H

#include "fast.h"

/* A stub within reach of a jump at @site; NULL when none can be had. Its address to *stub. */
struct fast_site *stub_new(uint64_t site, uint64_t *stub);
/* The @i-th site that has a stub, or NULL. */
struct fast_site *stub_site(unsigned i);

#endif
