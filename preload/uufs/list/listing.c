/* One directory of the upper read into memory. The kernel's records are kept as they come; a second
 * table holds their order. Both live for one call: on its stack while the directory is small, which
 * most are, then in mappings. */
#include "listing.h"

#include "../escape.h"
#include "../hostfd.h"
#include "../path.h"
#include "../upper.h"
#include "../whiteout.h"

#include <dirent.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define FIRST_SIZE 65536 /* of a mapping */
#define MIN_ROOM   512   /* enough for the kernel to return at least one record */

static uint64_t
name_hash(const char *name, size_t len)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)name[i]) * 0x100000001b3u;
    return (hash ^ (hash >> 32)) & (LISTING_HASHES - 1);
}

static int
map_new(size_t size, char **map)
{
    long r = sys6(SYS_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (sys_failed(r))
        return (int)r;
    *map = (char *)r;
    return 0;
}

/* Room for @need more bytes. */
static int
listing_grow(struct listing *l, size_t need)
{
    size_t cap = l->cap;
    long r;

    if (l->cap - l->used >= need)
        return 0;
    if (l->map == l->first) {
        char *map;
        int err = map_new(FIRST_SIZE, &map);

        if (err)
            return err;
        memcpy(map, l->first, l->used);
        l->map = map;
        l->cap = FIRST_SIZE;
        return 0;
    }
    while (cap - l->used < need)
        cap *= 2;
    r = sys4(SYS_mremap, l->map, l->cap, cap, MREMAP_MAYMOVE);
    if (sys_failed(r))
        return (int)r;
    l->map = (char *)r;
    l->cap = cap;
    return 0;
}

/* Our own look into a directory that the program made unreadable. */
static int
open_narrow(const char *host)
{
    uint32_t mode = 0;
    int r = upper_exists(host, &mode), fd;

    if (r <= 0)
        return r ? r : -ENOENT;
    if (!S_ISDIR(mode) || sys3(SYS_fchmodat, AT_FDCWD, host, (mode & 07777) | 0500))
        return -EACCES;
    fd = hostfd_open(host, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    sys3(SYS_fchmodat, AT_FDCWD, host, mode & 07777);
    return fd;
}

static OWN_FRAME int
open_upper(const struct uufs *fs, const char *ctr, size_t len)
{
    char host[LPMX_PATH_MAX];
    long r;
    int fd;

    if (!upper_may_have(fs, ctr, len))
        return -ENOENT;
    r = upper_path(fs, ctr, len, host);
    if (r < 0)
        return (int)r;
    fd = hostfd_open(host, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    return fd == -EACCES ? open_narrow(host) : fd;
}

static int
read_upper(struct listing *l, int fd)
{
    for (;;) {
        int err = listing_grow(l, MIN_ROOM);
        long n;

        if (err)
            return err;
        n = sys3(SYS_getdents64, fd, l->map + l->used, l->cap - l->used);
        if (n <= 0)
            return (int)n;
        l->used += (size_t)n;
    }
}

/* ---- order ---- */

static void
sift_down(struct listing_item *items, size_t root, size_t n)
{
    struct listing_item moved = items[root];

    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && items[child + 1].hash > items[child].hash)
            child++;
        if (items[child].hash <= moved.hash)
            break;
        items[root] = items[child];
    }
    items[root] = moved;
}

static void
heap_sort(struct listing_item *items, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        sift_down(items, i, n);
    while (n > 1) {
        struct listing_item top = items[0];

        items[0] = items[--n];
        items[n] = top;
        sift_down(items, 0, n);
    }
}

static size_t
count_entries(const struct listing *l)
{
    size_t n = 0;

    for (size_t at = 0; at < l->used; n++)
        at += ((const struct dir_entry *)(l->map + at))->reclen;
    return n;
}

static int
listing_order(struct listing *l)
{
    size_t size = count_entries(l) * sizeof(struct listing_item);

    l->n = 0;
    l->items = l->first_items;
    if (size > sizeof(l->first_items)) {
        char *map;
        int err = map_new(size, &map);

        if (err)
            return err;
        l->items = (struct listing_item *)map;
        l->items_size = size;
    }
    for (size_t at = 0; at < l->used;) {
        const struct dir_entry *e = (const struct dir_entry *)(l->map + at);

        if (!name_is_dots(e->name))
            l->items[l->n++] = (struct listing_item){name_hash(e->name, strlen(e->name)), at};
        at += e->reclen;
    }
    heap_sort(l->items, l->n);
    return 0;
}

static void
drop_items(struct listing *l)
{
    if (l->items_size)
        sys2(SYS_munmap, l->items, l->items_size);
    l->items_size = 0;
}

/* ---- seeds ---- */

static int
append_seed(struct listing *l, const struct uufs *fs, const struct uufs_bind *b, const char *name)
{
    size_t len = strlen(name),
           reclen = (offsetof(struct dir_entry, name) + len + 1 + 7) & ~(size_t)7;
    struct dir_entry *e;
    struct stat st;
    int err;

    if (sys4(SYS_newfstatat, AT_FDCWD, fs->strings + b->src, &st, 0))
        return 0;
    err = listing_grow(l, reclen);
    if (err)
        return err;
    e = (struct dir_entry *)(l->map + l->used);
    memset(e, 0, reclen);
    e->ino = st.st_ino;
    e->reclen = (uint16_t)reclen;
    e->type = DT_REG;
    memcpy(e->name, name, len);
    l->used += reclen;
    return 0;
}

/* Add the seeds of this directory that nothing else in it shows or hides. The order is made again
 * if there are any. */
static int
listing_seeds(struct listing *l, const struct uufs *fs, const char *ctr, size_t len, uint32_t node)
{
    size_t used = l->used;
    int err = 0;

    for (uint32_t i = 0; i < fs->n_binds && !err; i++) {
        const struct uufs_bind *b = &fs->binds[i];
        const char *dst = fs->strings + b->dst;
        size_t dir_len = path_parent(dst, b->dst_len), name_len = b->dst_len - dir_len - 1;

        if (!(b->flags & UUFS_BIND_SEED) || (dir_len ? dir_len : 1) != len ||
            (dir_len && memcmp(dst, ctr, len)))
            continue;
        if (listing_shown(l, dst + dir_len + 1, name_len) ||
            listing_hides(l, dst + dir_len + 1, name_len))
            continue;
        if (node == VIEW_NONE ||
            view_child(&fs->view, node, dst + dir_len + 1, name_len) == VIEW_NONE)
            err = append_seed(l, fs, b, dst + dir_len + 1);
    }
    if (err || l->used == used)
        return err;
    drop_items(l);
    return listing_order(l);
}

/* ---- the listing ---- */

int
listing_load(struct listing *l, const struct uufs *fs, const char *ctr, size_t len, uint32_t node)
{
    int fd = open_upper(fs, ctr, len), err = 0;

    l->map = l->first;
    l->cap = sizeof(l->first);
    l->used = l->n = l->items_size = 0;
    if (fd < 0 && fd != -ENOENT && fd != -EROFS)
        return fd;
    if (fd >= 0) {
        err = read_upper(l, fd);
        sys1(SYS_close, fd);
    }
    if (!err)
        err = listing_order(l);
    if (!err)
        err = listing_seeds(l, fs, ctr, len, node);
    if (err)
        listing_free(l);
    return err;
}

void
listing_free(struct listing *l)
{
    if (l->map != l->first)
        sys2(SYS_munmap, l->map, l->cap);
    l->map = l->first;
    drop_items(l);
}

const struct dir_entry *
listing_entry(const struct listing *l, size_t item)
{
    return (const struct dir_entry *)(l->map + l->items[item].off);
}

size_t
listing_from(const struct listing *l, uint64_t hash)
{
    size_t low = 0, high = l->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (l->items[mid].hash < hash)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

const struct dir_entry *
listing_find(const struct listing *l, const char *name, size_t len)
{
    uint64_t hash = name_hash(name, len);

    for (size_t i = listing_from(l, hash); i < l->n && l->items[i].hash == hash; i++) {
        const struct dir_entry *e = listing_entry(l, i);

        if (!strncmp(e->name, name, len) && !e->name[len])
            return e;
    }
    return NULL;
}

const struct dir_entry *
listing_shown(const struct listing *l, const char *name, size_t len)
{
    char escaped[LPMX_NAME_MAX + 2];
    size_t n = 0;

    if (!escape_needs(name, len))
        return listing_find(l, name, len);
    return escape_append(escaped, sizeof(escaped), &n, name, len) ? NULL
                                                                  : listing_find(l, escaped, n);
}

bool
listing_hides(const struct listing *l, const char *name, size_t len)
{
    char whiteout[WHITEOUT_PREFIX_LEN + LPMX_NAME_MAX + 1];

    if (!l->n || WHITEOUT_PREFIX_LEN + len > LPMX_NAME_MAX)
        return false;
    memcpy(whiteout, WHITEOUT_PREFIX, WHITEOUT_PREFIX_LEN);
    memcpy(whiteout + WHITEOUT_PREFIX_LEN, name, len);
    return listing_find(l, whiteout, WHITEOUT_PREFIX_LEN + len) != NULL;
}
