/* Opening what is closed to ourselves on the disk. */
#ifndef LPMX_OPENUP_H
#define LPMX_OPENUP_H

#include "../program/call.h"

/* After -EACCES: open the directories and files on the way that are closed to ourselves on the
 * disk, though not to a root, and remember their modes. True: the call is to be made again. */
bool openup_call(const struct call *c);

#endif
