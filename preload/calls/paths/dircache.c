/* Small direct-mapped tables. */
#include "dircache.h"

#include "../../base/libc.h"
#include "../../engine/engine.h"
#include "../../uufs/dirty.h"
#include "../../uufs/escape.h"
#include "../../uufs/seqlock.h"

HOT_FILE;

#define ENTRIES 64
#define PATHS   16

static struct entry {
    uint32_t sequence;
    struct known_directory directory;
} entries[ENTRIES];

static struct entry *
entry_of(uint64_t ino)
{
    return &entries[(ino ^ ino >> 6) % ENTRIES];
}

bool
dircache_find(uint64_t dev, uint64_t ino, struct known_directory *out)
{
    const struct entry *e = entry_of(ino);
    const struct known_directory *d = &e->directory;
    uint32_t before = __atomic_load_n(&e->sequence, __ATOMIC_ACQUIRE);

    if (before & 1 || d->ino != ino || d->dev != dev || !d->len || d->len >= sizeof(d->ctr))
        return false;
    out->dev = dev;
    out->ino = ino;
    out->moves = d->moves;
    out->node = d->node;
    out->len = d->len;
    memcpy(out->ctr, d->ctr, out->len < sizeof(d->ctr) ? out->len + 1 : 1);
    return sequence_held(&e->sequence, before) && out->len < sizeof(d->ctr) &&
           !out->ctr[out->len] && (!out->moves || out->moves == uufs_moves(&engine.fs));
}

bool
dircache_outside(uint64_t dev, uint64_t ino)
{
    const struct entry *e = entry_of(ino);
    const struct known_directory *d = &e->directory;
    uint32_t before = __atomic_load_n(&e->sequence, __ATOMIC_ACQUIRE);
    bool outside =
        d->ino == ino && d->dev == dev && !d->len && d->moves && d->moves == uufs_moves(&engine.fs);

    return outside && sequence_held(&e->sequence, before);
}

void
dircache_put(uint64_t dev, uint64_t ino, uint64_t moves, const char *ctr, uint32_t node)
{
    struct entry *e = entry_of(ino);
    size_t len = strlen(ctr);

    if (len >= sizeof(e->directory.ctr) ||
        (uufs_dirty_has_escapes(&engine.fs) && escape_needs_any(ctr, len)) ||
        !sequence_begin(&e->sequence))
        return;
    e->directory.dev = dev;
    e->directory.ino = ino;
    e->directory.moves = moves;
    e->directory.node = node;
    e->directory.len = (uint32_t)len;
    memcpy(e->directory.ctr, ctr, len + 1);
    sequence_end(&e->sequence);
}

static struct path {
    uint32_t sequence, node;
    uint32_t len; /* 0: none yet */
    char text[KNOWN_TEXT_MAX];
} paths[PATHS];

static struct path *
path_of(const char *path, size_t len)
{
    return &paths[sequence_slot(path, len, PATHS)];
}

uint32_t
dircache_node(const char *path, size_t len)
{
    const struct path *e = path_of(path, len);
    uint32_t before = __atomic_load_n(&e->sequence, __ATOMIC_ACQUIRE), node = e->node;

    if (before & 1 || e->len != len || len > sizeof(e->text) || memcmp(e->text, path, len))
        return VIEW_NONE;
    return sequence_held(&e->sequence, before) ? node : VIEW_NONE;
}

void
dircache_put_node(const char *path, size_t len, uint32_t node)
{
    struct path *e = path_of(path, len);

    if (!len || len > sizeof(e->text) || !sequence_begin(&e->sequence))
        return;
    e->node = node;
    e->len = (uint32_t)len;
    memcpy(e->text, path, len);
    sequence_end(&e->sequence);
}
