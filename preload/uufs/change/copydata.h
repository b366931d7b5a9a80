/* Copying contents and attributes of a file. */
#ifndef LPMX_COPYDATA_H
#define LPMX_COPYDATA_H

/* All bytes and holes of @src into the empty file @dst. */
int copy_data(int src, int dst);
/* The user.* attributes of a file or directory, where both file systems have them. */
int copy_xattrs(const char *src, const char *dst);

#endif
