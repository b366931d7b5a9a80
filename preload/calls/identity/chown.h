/* chown, chmod and the calls like them under root emulation. */
#ifndef LPMX_CHOWN_H
#define LPMX_CHOWN_H

#include "../program/call.h"

/* chown and chmod, in whichever form. */
long chown_change(struct call *c, uint32_t uid, uint32_t gid);
long chown_change_mode(struct call *c, uint32_t mode);

#endif
