/* What the view says of a lower file, in the forms that calls answer with. */
#ifndef LPMX_LOWER_H
#define LPMX_LOWER_H

#include "../../view/view.h"

struct stat;

/* The device of a layer's files. False when the recorded inodes are not to be trusted (the store
 * was copied) or the disk has to be asked. */
bool lower_device(uint32_t layer, uint64_t *device);
void lower_stat(const struct view_node *n, uint64_t device, struct stat *st);
/* What a directory shows in which the upper merges with @n, see inode.c. False: as lower_device. */
bool lower_show_merged(const struct view_node *n, struct stat *st);
/* The permission bits against the real user, as the kernel would judge: 0, -errno, 1: ask it. */
long lower_access(const struct view_node *n, bool read_only, unsigned want);

#endif
