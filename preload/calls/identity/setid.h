/* Changing ids under root emulation; setid.c has the rules, identity.c the calls. */
#ifndef LPMX_SETID_H
#define LPMX_SETID_H

#include "../program/call.h"

/* set*id, setre*id, setres*id by the row's number. */
long setid_change(const struct call *c);
/* setfsuid, setfsgid: the previous id. */
long setid_change_fs(const struct call *c);
long setid_set_groups(const struct call *c);

#endif
