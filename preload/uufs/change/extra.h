/* An *extra* is a short name ("owner", "security.capability") with a value that a user cannot set
 * on the disk. On a file or directory of a file system that has user attributes it is the attribute
 * `user.lpmx.NAME`, so that it goes where the file goes. Elsewhere (symlinks, FIFOs, sockets, a
 * file system without attributes) it is the file WORK/extra/INODE-BIRTH/NAME, written whole and
 * renamed, so that writers need no lock. The dirty map tells for which inodes there may be one, so
 * that a miss costs no system call. */
#ifndef LPMX_EXTRA_H
#define LPMX_EXTRA_H

#include "../uufs.h"

#include <sys/stat.h>

#define EXTRA_ATTR_PREFIX     "user.lpmx."
#define EXTRA_ATTR_PREFIX_LEN 10

/* A file of the upper: @path is followed only for /proc/self/fd/N. */
struct extra_file {
    const char *path;
    bool follow;
    struct stat st; /* as on disk */
};

/* Fill file->st. */
int extra_file_stat(struct extra_file *file);

/* The value of an extra: its length, -ENODATA, -ERANGE when @size is too small (0: only ask). */
long extra_get(const struct uufs *fs, const struct extra_file *file, const char *name, void *value,
               size_t size);
int extra_set(const struct uufs *fs, const struct extra_file *file, const char *name,
              const void *value, size_t size);
/* -ENODATA when there was none. */
int extra_remove(const struct uufs *fs, const struct extra_file *file, const char *name);
/* Names of the extras that are not attributes of the file, each with its NUL, into @list. Returns
 * their length, -ERANGE when @size is too small (0: only ask). */
long extra_list_beside(const struct uufs *fs, const struct extra_file *file, char *list,
                       size_t size);
/* The file at @host is about to lose its last name: forget what lies beside it. */
void extra_forget(const struct uufs *fs, const char *host);

#endif
