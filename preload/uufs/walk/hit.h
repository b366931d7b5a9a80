/* What a hit is besides a name: a seed, a mount point, still there. */
#ifndef LPMX_HIT_H
#define LPMX_HIT_H

#include "../uufs.h"

/* A magic link of /proc to a file of a layer becomes the file's name in the union; one to anything
 * else (a file without a name, as O_TMPFILE makes it, above all) stays the kernel's to follow.
 * -ENOENT: the file has no name any more. */
int uufs_leave_magic(const struct uufs *fs, struct uufs_hit *hit);

/* The seed shown at @ctr (an index into fs->binds), or -1. */
int seed_at(const struct uufs *fs, const char *ctr, size_t len);
/* Is the mount point of a bind below the directory @ctr? */
bool bind_below(const struct uufs *fs, const char *ctr, size_t len);
/* Is the hit itself the mount point of a bind? */
bool hit_is_mount(const struct uufs *fs, const struct uufs_hit *hit);
/* The bind in which the name itself is (a mount point's is in the directory around it), or -1 for
 * the union. */
int hit_mount(const struct uufs *fs, const struct uufs_hit *hit);
/* Would a lower name or a seed show when the upper's name goes? */
bool hit_needs_whiteout(const struct uufs *fs, const struct uufs_hit *hit);
/* What the union holds at hit->ctr now, into @now (as uufs_lookup with UUFS_MISSING, seeds
 * included). */
int hit_now(const struct uufs *fs, const struct uufs_hit *hit, struct uufs_hit *now);
/* Is it still what @hit says? 1, 0 or -errno. */
int hit_is_current(const struct uufs *fs, const struct uufs_hit *hit);

#endif
