/* Which call sites are rewritten, and when. */
#ifndef LPMX_CHOOSE_H
#define LPMX_CHOOSE_H

#include "../base/sys.h"

/* System call @nr trapped, and goes on at @back: rewrite its site if it is worth it. */
void choose_note(uint64_t back, long nr);
/* A handler for the C library's cancellation signal is about to be installed. */
void choose_expect_cancellation(void);

#endif
