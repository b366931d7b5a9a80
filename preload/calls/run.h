/* Running a call's handler. */
#ifndef LPMX_RUN_H
#define LPMX_RUN_H

#include "program/call.h"

/* Run the row's handler; once more where root emulation has opened the way. */
long call_run(struct call *c);

#endif
