/* What a user cannot set on the disk is kept beside the file: owner, setuid bits, device numbers.
 *
 * The record is the extra "owner" (extra.h), the text "1 UID GID MODE DISK RDEV": the first four of
 * struct owner, all octal but the ids. The kernel's fakeroot-like readers of other projects keep
 * the same facts. */
#ifndef LPMX_OWNER_H
#define LPMX_OWNER_H

#include "extra.h"

#include <sys/stat.h>

#define OWNER_NAME     "owner"
#define OWNER_TEXT_MAX 80
#define OWNER_DEVICES  "//d" /* in the dirty map: a device is recorded somewhere */

struct owner {
    uint32_t uid, gid;
    uint32_t mode; /* as shown: type and all bits */
    uint32_t disk; /* mode on disk when this was recorded: where it differs now, somebody has
                      changed it past us, and the disk's bits are shown */
    uint32_t rdev;
};

/* 1 and the record, 0 when there is none, or -errno. */
int owner_read(const struct uufs *fs, const struct extra_file *file, struct owner *owner);
int owner_write(const struct uufs *fs, const struct extra_file *file, const struct owner *owner);
/* The mode on disk under which we, the real owner, can always use a file shown with @mode. */
uint32_t owner_disk_mode(uint32_t disk_type, uint32_t mode);
/* Put the record's facts into @st. */
void owner_apply(const struct owner *owner, struct stat *st);
/* Before a copy @temp of the lower node @n gets its place, with the mode @disk: record what the
 * layer says and the disk cannot. */
int owner_of_node(const struct uufs *fs, const struct view_node *n, const char *temp,
                  uint32_t disk);

#endif
