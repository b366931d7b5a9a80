/* The table of system calls. */
#ifndef LPMX_TABLE_H
#define LPMX_TABLE_H

#include "program/call.h"

/* The row of system call @nr, or NULL. */
const struct call_row *call_find(long nr);

#endif
