/* The seccomp filter: which calls trap. */
#ifndef LPMX_FILTER_H
#define LPMX_FILTER_H

#include "../base/sys.h"

int trap_install_filter(uint32_t plan_flags); /* enum plan_flags */

enum trap_late {
    TRAP_NAMES = 1,    /* calls that ask for the address of a peer */
    TRAP_MESSAGES = 2, /* and those of which only the program's memory tells whether they do */
};

/* A filter more for all threads of this process. 0 or -errno. */
int trap_install_late(enum trap_late level);

#endif
