/* The steps of a walk in the union. */
#ifndef LPMX_WALKUNION_H
#define LPMX_WALKUNION_H

#include "walkstate.h"

int walk_in_union(struct walk *w, const char *name, size_t len, bool last, int seed);
/* The target of the symlink the walk stands on, at *target; its length or -errno. */
long walk_read_link(struct walk *w, const char **target);

#endif
