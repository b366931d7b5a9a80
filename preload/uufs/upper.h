/* What the files that change the union share: paths in the upper, temporaries, publishing,
 * bookkeeping.
 *
 * Private to uufs/. Paths are host paths in buffers of LPMX_PATH_MAX bytes unless said otherwise.
 */
#ifndef LPMX_UPPER_H
#define LPMX_UPPER_H

#include "uufs.h"

#include <linux/fs.h>
#include <sys/stat.h>
#include <time.h>

/* Where the container path @ctr is, or would be, in the upper. Returns the length or -errno. */
long upper_path(const struct uufs *fs, const char *ctr, size_t len, char *host);
/* Point hit->host at the upper. */
int upper_take(const struct uufs *fs, struct uufs_hit *hit);
/* WORK and @name, which begins with a slash, into @path; *len: its length. 0 or -errno. */
int work_path(const struct uufs *fs, const char *name, char *path, size_t *len);
/* A fresh name in WORK. Creating it answers EEXIST in the one case of 2^32 where it is not: take
 * the next. */
int upper_temp(const struct uufs *fs, char *path);
/* Move a finished temporary to its place if nothing is there: 0, -EEXIST ... With the lock held. */
int upper_publish(const char *temp, const char *host, bool directory);
/* Does @host exist? 1, 0 or -errno; its mode to *@mode unless that is NULL. */
int upper_exists(const char *host, uint32_t *mode);
/* May the upper hold something at @ctr, as far as the dirty map tells? */
bool upper_may_have(const struct uufs *fs, const char *ctr, size_t len);

/* The parent directory of a name, while we do in it what the program did not ask for: writable, its
 * mtime kept. */
struct upper_guard {
    char *host;
    size_t dir_len;
    uint32_t mode;
    bool narrow; /* the directory's own mode forbids us to write */
    struct timespec times[2];
};

int upper_guard(struct upper_guard *guard, char *host, size_t len);
void upper_release(struct upper_guard *guard);

#endif
