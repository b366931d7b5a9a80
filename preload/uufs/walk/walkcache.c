/* The table of places. */
#include "walkcache.h"

#include "../../base/libc.h"
#include "../dirty.h"
#include "../escape.h"
#include "../seqlock.h"

HOT_FILE;

static struct uufs_place_entry *
entry_of(const struct uufs *fs, const char *ctr, size_t len)
{
    return &fs->places->entries[sequence_slot(ctr, len, PLACE_COUNT)];
}

bool
walkcache_find(const struct uufs *fs, const char *ctr, size_t len, uint64_t moves,
               struct uufs_place *out)
{
    const struct uufs_place_entry *e = entry_of(fs, ctr, len);
    uint32_t before = __atomic_load_n(&e->sequence, __ATOMIC_ACQUIRE);

    if (e->place.moves != moves || e->len != len || len > PLACE_TEXT_MAX ||
        memcmp(e->text, ctr, len))
        return false;
    *out = e->place;
    return sequence_held(&e->sequence, before) &&
           (!out->bare_len || !(uufs_dirty_test(fs, ctr, out->bare_len) ||
                                uufs_dirty_test_tree(fs, ctr, out->bare_len)));
}

void
walkcache_put(const struct uufs *fs, const char *ctr, size_t len, const struct uufs_place *place)
{
    struct uufs_place_entry *e = entry_of(fs, ctr, len);

    if (len > PLACE_TEXT_MAX || (uufs_dirty_has_escapes(fs) && escape_needs_any(ctr, len)) ||
        !sequence_begin(&e->sequence))
        return;
    e->place = *place;
    e->len = (uint32_t)len;
    memcpy(e->text, ctr, len);
    sequence_end(&e->sequence);
}
