/* Whiteouts and opaque marks of the upper. */
#ifndef LPMX_WHITEOUT_H
#define LPMX_WHITEOUT_H

#include "uufs.h"

#define WHITEOUT_PREFIX     ".wh."
#define WHITEOUT_PREFIX_LEN 4
#define WHITEOUT_OPAQUE     ".wh..wh..opq"

/* Is @name, as the disk has it, that of a mark? */
bool whiteout_is(const char *name, size_t len);
/* Is the lower name at container path @ctr hidden by a whiteout in the upper? 1, 0 or -errno. */
int whiteout_test(const struct uufs *fs, const char *ctr, size_t len);
/* Hide it. Its parents are in the upper already. */
int whiteout_make(const struct uufs *fs, const char *ctr, size_t len);
/* Does the upper directory at @ctr carry the opaque mark? 1, 0 or -errno. */
int opaque_test(const struct uufs *fs, const char *ctr, size_t len);
int opaque_make_at(const struct uufs *fs, const char *host_dir, size_t len);

#endif
