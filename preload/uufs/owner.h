/* What a user cannot set on the disk is kept beside the file: owner, setuid bits, device numbers,
 * attributes of the security and trusted namespaces.
 *
 * An *extra* is a short name ("owner", "security.capability") with a value. On a file or directory
 * of a file system that has user attributes it is the attribute `user.lpmx.NAME`, so that it goes
 * where the file goes. Elsewhere (symlinks, FIFOs, sockets, a file system without attributes) it is
 * the file WORK/extra/INODE-BIRTH/NAME, written whole and renamed, so that writers need no lock.
 * The dirty map tells for which inodes there may be one, so that a miss costs no system call.
 *
 * The extra "owner" is the text "1 UID GID MODE DISK RDEV": the first four of owner, all octal but
 * the ids. The kernel's fakeroot-like readers of other projects keep the same facts. */
#ifndef LPMX_OWNER_H
#define LPMX_OWNER_H

#include "uufs.h"

#include <sys/stat.h>

#define OWNER_ATTR_PREFIX     "user.lpmx."
#define OWNER_ATTR_PREFIX_LEN 10
#define OWNER_NAME            "owner"
#define OWNER_TEXT_MAX        80
#define OWNER_DEVICES         "//d" /* in the dirty map: a device is recorded somewhere */

struct owner {
    uint32_t uid, gid;
    uint32_t mode; /* as shown: type and all bits */
    uint32_t disk; /* mode on disk when this was recorded: where it differs now, somebody has
                      changed it past us, and the disk's bits are shown */
    uint32_t rdev;
};

/* A file of the upper: @path is followed only for /proc/self/fd/N. */
struct owner_file {
    const char *path;
    bool follow;
    struct stat st; /* as on disk */
};

/* Fill file->st. */
int owner_file_stat(struct owner_file *file);

/* The value of an extra: its length, -ENODATA, -ERANGE when @size is too small (0: only ask). */
long extra_get(const struct uufs *fs, const struct owner_file *file, const char *name, void *value,
               size_t size);
int extra_set(const struct uufs *fs, const struct owner_file *file, const char *name,
              const void *value, size_t size);
/* -ENODATA when there was none. */
int extra_remove(const struct uufs *fs, const struct owner_file *file, const char *name);
/* Names of the extras that are not attributes of the file, each with its NUL, into @list. Returns
 * their length, -ERANGE when @size is too small (0: only ask). */
long extra_list_beside(const struct uufs *fs, const struct owner_file *file, char *list,
                       size_t size);
/* The file at @host is about to lose its last name: forget what lies beside it. */
void extra_forget(const struct uufs *fs, const char *host);

/* 1 and the record, 0 when there is none, or -errno. */
int owner_read(const struct uufs *fs, const struct owner_file *file, struct owner *owner);
int owner_write(const struct uufs *fs, const struct owner_file *file, const struct owner *owner);
/* The mode on disk under which we, the real owner, can always use a file shown with @mode. */
uint32_t owner_disk_mode(uint32_t disk_type, uint32_t mode);
/* Put the record's facts into @st. */
void owner_apply(const struct owner *owner, struct stat *st);
/* Before a copy @temp of the lower node @n gets its place, with the mode @disk: record what the
 * layer says and the disk cannot. */
int owner_of_node(const struct uufs *fs, const struct view_node *n, const char *temp,
                  uint32_t disk);

#endif
