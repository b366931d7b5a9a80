/* The dirty map: a Bloom filter, shared by all processes of a container, of the names the upper may
 * hold.
 *
 * A clear bit proves that the upper has neither the name nor a whiteout of it, so the walk asks the
 * disk nothing. Bits are only ever set, before the name appears; a name that went away leaves a
 * false alarm, which costs one probe. A directory that moved takes names along that were noted
 * elsewhere: it gets a `tree` bit, which stands for all below.
 *
 * The map's second word counts moves: how often a directory of the upper was renamed or removed.
 * While it stands still, a directory once found in the upper is still there (walkcache.h). It is
 * raised before and after each: after, so that nothing is good that was seen before it had gone;
 * before, so that a process that is killed in between leaves only what others found in those few
 * microseconds.
 *
 * On a network file system another machine writes without our seeing its marks. So a process that
 * finds the map there uses none, and sets bit 0 for those that have it on a disk of their own:
 * "trust nothing". Bit 1 says that some name of the upper is another on the disk (escape.c), bit 2
 * that some directory of it may not be searched: then names are not known to be absent there by the
 * map alone. */
#include "dirty.h"

#include "escape.h"

HOT_FILE;

#define FNV_BASIS   0xcbf29ce484222325u
#define FNV_PRIME   0x100000001b3u
#define TREE_SALT   0x9e3779b97f4a7c15u
#define OPAQUE_SALT 0xc2b2ae3d27d4eb4fu
#define WATCH_SALT  0x165667b19e3779f9u

static uint64_t
dirty_hash(const char *path, size_t len, uint64_t salt)
{
    uint64_t hash = FNV_BASIS ^ salt;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)path[i]) * FNV_PRIME;
    return hash ^ (hash >> 29);
}

/* The head's bits are no name's, nor is bit 0 of a map without one. */
static uint64_t
bit_of(const struct uufs *fs, uint64_t hash)
{
    uint64_t bit = hash & (fs->dirty_bits - 1), head = fs->moves ? UUFS_DIRTY_HEAD * 8 : 1;

    return bit < head ? bit + head : bit;
}

static bool
nothing_known(const struct uufs *fs)
{
    return !fs->dirty || __atomic_load_n(&fs->dirty[0], __ATOMIC_ACQUIRE) & UUFS_DIRTY_ELSEWHERE;
}

static bool
bit_test(const struct uufs *fs, uint64_t bit)
{
    bit = bit_of(fs, bit);
    return (__atomic_load_n(&fs->dirty[bit / 64], __ATOMIC_ACQUIRE) >> (bit % 64)) & 1;
}

static void
bit_set(const struct uufs *fs, uint64_t bit)
{
    bit = bit_of(fs, bit);
    __atomic_fetch_or(&fs->dirty[bit / 64], (uint64_t)1 << (bit % 64), __ATOMIC_SEQ_CST);
}

static bool
hash_test(const struct uufs *fs, uint64_t hash)
{
    return bit_test(fs, hash) && bit_test(fs, hash >> 32);
}

static void
hash_set(const struct uufs *fs, uint64_t hash)
{
    if (hash_test(fs, hash))
        return;
    bit_set(fs, hash);
    bit_set(fs, hash >> 32);
}

bool
uufs_dirty_test(const struct uufs *fs, const char *ctr, size_t len)
{
    return nothing_known(fs) || hash_test(fs, dirty_hash(ctr, len, 0));
}

bool
uufs_dirty_has_escapes(const struct uufs *fs)
{
    return !fs->moves || !fs->dirty ||
           __atomic_load_n(&fs->dirty[0], __ATOMIC_ACQUIRE) &
               (UUFS_DIRTY_ELSEWHERE | UUFS_DIRTY_ESCAPES);
}

bool
uufs_dirty_has_closed(const struct uufs *fs)
{
    return fs->dirty && fs->moves &&
           __atomic_load_n(&fs->dirty[0], __ATOMIC_ACQUIRE) & UUFS_DIRTY_CLOSED;
}

void
uufs_dirty_set_closed(const struct uufs *fs)
{
    if (fs->dirty && fs->moves)
        __atomic_fetch_or(&fs->dirty[0], UUFS_DIRTY_CLOSED, __ATOMIC_SEQ_CST);
}

static bool
ends_escaped(const char *ctr, size_t len)
{
    size_t at = len;

    while (at && ctr[at - 1] != '/')
        at--;
    return escape_needs(ctr + at, len - at);
}

void
uufs_dirty_set(const struct uufs *fs, const char *ctr, size_t len)
{
    if (fs->dirty && fs->moves && ends_escaped(ctr, len))
        __atomic_fetch_or(&fs->dirty[0], UUFS_DIRTY_ESCAPES, __ATOMIC_SEQ_CST);
    if (fs->dirty)
        hash_set(fs, dirty_hash(ctr, len, 0));
}

bool
uufs_dirty_test_tree(const struct uufs *fs, const char *ctr, size_t len)
{
    return nothing_known(fs) || hash_test(fs, dirty_hash(ctr, len, TREE_SALT));
}

void
uufs_dirty_set_tree(const struct uufs *fs, const char *ctr, size_t len)
{
    if (fs->dirty)
        hash_set(fs, dirty_hash(ctr, len, TREE_SALT));
}

bool
uufs_dirty_test_opaque(const struct uufs *fs, const char *ctr, size_t len)
{
    return nothing_known(fs) || hash_test(fs, dirty_hash(ctr, len, OPAQUE_SALT));
}

void
uufs_dirty_set_opaque(const struct uufs *fs, const char *ctr, size_t len)
{
    if (fs->dirty)
        hash_set(fs, dirty_hash(ctr, len, OPAQUE_SALT));
}

void
uufs_watched_set(const struct uufs *fs, const char *ctr, size_t len)
{
    if (fs->dirty)
        hash_set(fs, dirty_hash(ctr, len, WATCH_SALT));
}

bool
uufs_watched_test(const struct uufs *fs, const char *ctr, size_t len)
{
    return fs->dirty && hash_test(fs, dirty_hash(ctr, len, WATCH_SALT));
}

uint64_t
uufs_moves(const struct uufs *fs)
{
    return !fs->moves || nothing_known(fs) ? 0 : __atomic_load_n(fs->moves, __ATOMIC_ACQUIRE) + 1;
}

void
uufs_moves_add(const struct uufs *fs)
{
    if (fs->moves)
        __atomic_fetch_add(fs->moves, 1, __ATOMIC_SEQ_CST);
}
