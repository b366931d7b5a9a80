/* The names that the upper (and the seeds) have in one directory, in memory, ordered by hash.
 * Private to uufs/. */
#ifndef LPMX_LISTING_H
#define LPMX_LISTING_H

#include "../uufs.h"

struct dir_entry { /* as the kernel's linux_dirent64 */
    uint64_t ino;
    int64_t off;
    uint16_t reclen;
    uint8_t type;
    char name[];
};

static inline bool
name_is_dots(const char *name)
{
    return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

#define LISTING_HASHES ((uint64_t)1 << 40)

struct listing_item {
    uint64_t hash; /* below LISTING_HASHES: with the lower names' positions below it, a file offset
                      any file system can seek to */
    uint64_t off;  /* of the entry in map */
};

struct listing {
    char *map; /* the records: `first`, or a mapping */
    size_t used, cap;
    struct listing_item *items; /* first_items, or a mapping of items_size bytes */
    size_t n, items_size;
    struct listing_item first_items[64];
    char first[4096] __attribute__((aligned(8)));
};

/* Read the upper's directory @ctr, and the seeds in it that show, into @l. An absent directory is
 * an empty listing. */
int listing_load(struct listing *l, const struct uufs *fs, const char *ctr, size_t len,
                 uint32_t node);
void listing_free(struct listing *l);
const struct dir_entry *listing_entry(const struct listing *l, size_t item);
/* The entry that the disk calls so, or NULL. */
const struct dir_entry *listing_find(const struct listing *l, const char *name, size_t len);
/* That which shows as @name. */
const struct dir_entry *listing_shown(const struct listing *l, const char *name, size_t len);
/* Is there a whiteout of this lower name? */
bool listing_hides(const struct listing *l, const char *name, size_t len);
/* The first item whose hash is not below @hash. */
size_t listing_from(const struct listing *l, uint64_t hash);

#endif
