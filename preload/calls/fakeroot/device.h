/* Devices under root emulation. */
#ifndef LPMX_DEVICE_H
#define LPMX_DEVICE_H

#include "../../uufs/uufs.h"

/* mknod of a device: an empty file and a record. */
int device_make(const struct uufs_hit *hit, unsigned long mode, unsigned long rdev);
/* The host's file that opening a remembered device means: one of those in /dev that every program
 * may use, "" for any other device, NULL where @hit is none. */
const char *device_of(const struct uufs_hit *hit);
/* Entries of the directory @hit as getdents64 wrote them: a remembered device is no regular file.
 */
void device_show_types(const struct uufs_hit *hit, char *entries, long size);

#endif
