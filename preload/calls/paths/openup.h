/* Opening what is closed to ourselves on the disk. */
#ifndef LPMX_OPENUP_H
#define LPMX_OPENUP_H

#include "../program/call.h"

/* After -EACCES: are there directories or files on the way that are closed to ourselves on disk,
 * though not to a root? Then they are opened, their modes remembered, and the call is made again.
 */
bool openup_call(const struct call *c);

#endif
