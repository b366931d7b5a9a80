/* Small direct-mapped tables. Each entry has a sequence number, odd while it is written: readers
 * take no lock, so that they may be interrupted and left at any point. */
#include "known.h"

#define ENTRIES 64
#define PATHS   16

/* False when another does already. */
static bool
begin_writing(uint32_t *sequence)
{
    uint32_t before = __atomic_load_n(sequence, __ATOMIC_RELAXED);

    if (before & 1 || !__atomic_compare_exchange_n(sequence, &before, before + 1, false,
                                                   __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return false;
    __atomic_thread_fence(__ATOMIC_RELEASE); /* the odd number is seen before what follows */
    return true;
}

static void
end_writing(uint32_t *sequence)
{
    __atomic_store_n(sequence, *sequence + 1, __ATOMIC_RELEASE);
}

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
    size_t len = strlen(ctr);

    if (!len || len >= sizeof(e->directory.ctr) || !begin_writing(&e->sequence))
        return;
    e->directory.dev = dev;
    e->directory.ino = ino;
    e->directory.node = node;
    e->directory.len = (uint32_t)len;
    memcpy(e->directory.ctr, ctr, len + 1);
    end_writing(&e->sequence);
}

static struct path {
    uint32_t sequence, node;
    uint32_t len; /* 0: none yet */
    char text[KNOWN_TEXT_MAX];
} paths[PATHS];

/* By its end: paths in use at a time mostly begin alike. */
static struct path *
path_of(const char *path, size_t len)
{
    unsigned sum = (unsigned)len;

    for (size_t i = len > 4 ? len - 4 : 0; i < len; i++)
        sum = sum * 5 + (unsigned char)path[i];
    return &paths[(sum ^ sum >> 4 ^ sum >> 8) % PATHS];
}

uint32_t
known_node(const char *path, size_t len)
{
    const struct path *e = path_of(path, len);
    uint32_t before = __atomic_load_n(&e->sequence, __ATOMIC_ACQUIRE), node = e->node;

    if (before & 1 || e->len != len || len > sizeof(e->text) || memcmp(e->text, path, len))
        return VIEW_NONE;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return __atomic_load_n(&e->sequence, __ATOMIC_RELAXED) == before ? node : VIEW_NONE;
}

void
known_put_node(const char *path, size_t len, uint32_t node)
{
    struct path *e = path_of(path, len);

    if (!len || len > sizeof(e->text) || !begin_writing(&e->sequence))
        return;
    e->node = node;
    e->len = (uint32_t)len;
    memcpy(e->text, path, len);
    end_writing(&e->sequence);
}
