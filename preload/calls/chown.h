/* chown, chmod and the calls like them under root emulation. */
#ifndef LPMX_CHOWN_H
#define LPMX_CHOWN_H

#include "call.h"

/* chown and chmod, in whichever form. */
long ownership_chown(struct call *c, uint32_t uid, uint32_t gid);
long ownership_chmod(struct call *c, uint32_t mode);

#endif
