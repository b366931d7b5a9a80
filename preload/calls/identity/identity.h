/* Owners as they are shown. */
#ifndef LPMX_IDENTITY_H
#define LPMX_IDENTITY_H

#include "../../uufs/uufs.h"

/* What the disk says of a hit, or of a descriptor, becomes what is shown. */
void identity_show(const struct uufs_hit *hit, struct stat *st);
void identity_show_fd(int fd, struct stat *st);

#endif
