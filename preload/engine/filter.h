/* The seccomp filter: which calls trap. */
#ifndef LPMX_FILTER_H
#define LPMX_FILTER_H

#include "../base/sys.h"

int filter_install(uint32_t plan_flags); /* enum plan_flags */

enum filter_late {
    FILTER_NAMES = 1,    /* calls that ask for the address of a peer */
    FILTER_MESSAGES = 2, /* and those of which only the program's memory tells whether they do */
};

/* A filter more for all threads of this process. 0 or -errno. */
int filter_install_late(enum filter_late level);

#endif
