/* The second filter of a process, for calls that ask for the address of a peer. */
#ifndef LPMX_LATEFILTER_H
#define LPMX_LATEFILTER_H

#include "../../engine/filter.h"

/* The unix socket @fd is bound: from now on the addresses of peers are shown as the container's. */
void latefilter_for_socket(int fd);
void latefilter_raise(enum filter_late level);

#endif
