/* Where rewritten call sites enter the engine. */
#ifndef LPMX_ENTRY_H
#define LPMX_ENTRY_H

#include "../base/sys.h"

void fast_entry(void);              /* where stubs jump to; not a C function */
extern int fast_cancellable_inside; /* calls of cancellable sites that are being carried out */
/* Can calls of this number be carried out without a signal frame? */
bool fast_may_carry(long nr);
#define FAST_SLOTS 7              /* less than a huge page in all */
extern int fast_busy[FAST_SLOTS]; /* stacks in use */

#endif
