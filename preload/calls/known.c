/* A small direct-mapped table. Each entry has a sequence number, odd while it is written: readers
 * take no lock, so that they may be interrupted and left at any point. */
#include "known.h"

#define ENTRIES 64

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
known_find(uint64_t dev, uint64_t ino, struct known_directory *out)
{
    const struct entry *e = entry_of(ino);
    const struct known_directory *d = &e->directory;
    uint32_t before = __atomic_load_n(&e->sequence, __ATOMIC_ACQUIRE);

    if (before & 1 || d->ino != ino || d->dev != dev || !d->len || d->len >= sizeof(d->ctr))
        return false;
    out->dev = dev;
    out->ino = ino;
    out->node = d->node;
    out->len = d->len;
    memcpy(out->ctr, d->ctr, out->len < sizeof(d->ctr) ? out->len + 1 : 1);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return __atomic_load_n(&e->sequence, __ATOMIC_RELAXED) == before && out->len < sizeof(d->ctr) &&
           !out->ctr[out->len];
}

void
known_put(uint64_t dev, uint64_t ino, const char *ctr, uint32_t node)
{
    struct entry *e = entry_of(ino);
    uint32_t before = __atomic_load_n(&e->sequence, __ATOMIC_RELAXED);
    size_t len = strlen(ctr);

    if (before & 1 || !len || len >= sizeof(e->directory.ctr) ||
        !__atomic_compare_exchange_n(&e->sequence, &before, before + 1, false, __ATOMIC_ACQUIRE,
                                     __ATOMIC_RELAXED))
        return;
    e->directory.dev = dev;
    e->directory.ino = ino;
    e->directory.node = node;
    e->directory.len = (uint32_t)len;
    memcpy(e->directory.ctr, ctr, len + 1);
    __atomic_store_n(&e->sequence, before + 2, __ATOMIC_RELEASE);
}
