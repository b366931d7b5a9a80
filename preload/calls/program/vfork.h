/* Does a process run on its parent's memory? */
#ifndef LPMX_VFORK_H
#define LPMX_VFORK_H

#include "../../base/sys.h"

/* Can the kernel tell (kcmp)? Asked once, at the start of a container. */
bool vfork_compares_memory(void);
void vfork_mark_process(void); /* once in every new image */
/* Does this process run on its parent's memory, as a vfork child does? 1, 0, or -1: not known. */
int vfork_shares_memory(void);

#endif
