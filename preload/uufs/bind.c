/* Which bind lies at a path. Asked of every component of every path, so most are told by a mask. */
#include "bind.h"

#include "../base/libc.h"

HOT_FILE;

void
uufs_note_binds(struct uufs *fs)
{
    fs->bind_lengths = 0;
    for (uint32_t i = 0; i < fs->n_binds; i++)
        fs->bind_lengths |= (uint64_t)1 << fs->binds[i].dst_len % 64;
}

int
uufs_bind_at(const struct uufs *fs, const char *ctr, size_t len)
{
    if (!(fs->bind_lengths >> len % 64 & 1)) /* so it is for most paths */
        return -1;
    for (uint32_t i = 0; i < fs->n_binds; i++)
        if (fs->binds[i].dst_len == len && !memcmp(fs->strings + fs->binds[i].dst, ctr, len))
            return (int)i;
    return -1;
}
