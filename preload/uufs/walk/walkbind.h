/* The steps of a walk below a bind. */
#ifndef LPMX_WALKBIND_H
#define LPMX_WALKBIND_H

#include "walkstate.h"

int walk_enter_bind(struct walk *w, int bind);
/* A component below a bind. 1: it is a symlink to follow, its target is in w->target. */
long walk_in_bind(struct walk *w, bool last);
/* The walk ends below a bind: hit->host, and whether that can be changed. 0 or -errno. */
int walk_finish_in_bind(struct walk *w);
/* UUFS_NO_XDEV: does it still stand on the same mount? 0 or -EXDEV. */
int walk_check_mount(struct walk *w);

#endif
