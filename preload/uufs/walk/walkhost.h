/* The host path of the name that a walk has come to: hit->host of hit->ctr. */
#ifndef LPMX_WALKHOST_H
#define LPMX_WALKHOST_H

#include "../uufs.h"

int hit_compose(struct uufs_hit *hit, const char *prefix, size_t prefix_len, const char *tail,
                size_t tail_len);
int hit_in_upper(const struct uufs *fs, struct uufs_hit *hit);
int hit_in_layer(const struct uufs *fs, struct uufs_hit *hit, uint32_t node);
int hit_in_bind(const struct uufs *fs, struct uufs_hit *hit);

#endif
