/* The table of anchors, and the paths by them: see anchor.h. */
#include "anchor.h"

#include "../base/libc.h"
#include "../base/str.h"
#include "escape.h"

#include <sys/stat.h>

#define SLOTS 4

static struct slot {
    int tid, pid; /* a forked child has the table, but none of the threads */
    struct uufs_anchor anchors[ANCHORS];
} slots[SLOTS];

static struct slot *
own_slot(const struct uufs *fs)
{
    int tid, pid;

    if (!__atomic_load_n(&fs->anchored, __ATOMIC_RELAXED))
        return NULL;
    tid = (int)sys0(SYS_gettid);
    pid = (int)sys0(SYS_getpid);
    for (size_t i = 0; i < SLOTS; i++)
        if (__atomic_load_n(&slots[i].tid, __ATOMIC_RELAXED) == tid && slots[i].pid == pid)
            return &slots[i];
    return NULL;
}

COLD struct uufs_anchor *
anchors_take(struct uufs *fs)
{
    int tid = (int)sys0(SYS_gettid);

    for (size_t i = 0; i < SLOTS; i++) {
        int none = 0;

        if (!__atomic_compare_exchange_n(&slots[i].tid, &none, tid, false, __ATOMIC_ACQ_REL,
                                         __ATOMIC_RELAXED))
            continue;
        slots[i].pid = (int)sys0(SYS_getpid);
        for (size_t k = 0; k < ANCHORS; k++)
            slots[i].anchors[k].len = 0;
        __atomic_fetch_add(&fs->anchored, 1, __ATOMIC_RELAXED);
        return slots[i].anchors;
    }
    return NULL;
}

COLD void
anchors_drop(struct uufs *fs)
{
    struct slot *own = own_slot(fs);

    if (!own)
        return;
    __atomic_fetch_sub(&fs->anchored, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&own->tid, 0, __ATOMIC_RELEASE);
}

/* Bytes of the directory that @path has in common with the one of @anchor. */
static size_t
common_len(const struct uufs_anchor *a, const char *ctr, size_t len)
{
    size_t same = 0;

    for (size_t i = 0;; i++) {
        bool ends = i == len || ctr[i] == '/', other = i == a->len || a->ctr[i] == '/';

        if (ends && other)
            same = i;
        if (i == len || i == a->len || ctr[i] != a->ctr[i])
            return same;
    }
}

/* From the anchor up to what both have in common, and down. */
static long
path_from(const struct uufs_anchor *a, const char *ctr, size_t len, char *host)
{
    size_t same = common_len(a, ctr, len), n = 0;
    int err = str_append(host, LPMX_PATH_MAX, &n, a->link, strlen(a->link));

    for (size_t i = same; i < a->len && !err; i++)
        if (a->ctr[i] == '/')
            err = str_append(host, LPMX_PATH_MAX, &n, "/..", 3);
    if (!err && len == same)
        err = str_append(host, LPMX_PATH_MAX, &n, "/.", 2);
    if (!err)
        err = a->bind < 0 ? escape_append(host, LPMX_PATH_MAX, &n, ctr + same, len - same)
                          : str_append(host, LPMX_PATH_MAX, &n, ctr + same, len - same);
    return err ? err : (long)n;
}

COLD long
anchors_path(const struct uufs *fs, int bind, const char *ctr, size_t len, char *host)
{
    const struct slot *own = own_slot(fs);
    struct stat st;
    bool closed;

    for (size_t i = 0; own && i < ANCHORS; i++) {
        const struct uufs_anchor *a = &own->anchors[i];

        if (a->len && a->bind == bind && (a->in_upper || bind >= 0) &&
            common_len(a, ctr, len) == a->len)
            return path_from(a, ctr, len, host);
    }
    if (!own)
        return 0;
    closed = sys4(SYS_newfstatat, AT_FDCWD, host, &st, AT_SYMLINK_NOFOLLOW) == -EACCES;
    for (size_t i = 0; closed && i < ANCHORS; i++) {
        const struct uufs_anchor *a = &own->anchors[i];

        if (a->len && a->bind == bind && (a->in_upper || bind >= 0))
            return path_from(a, ctr, len, host);
    }
    return 0;
}

COLD int
anchors_prove(const struct uufs *fs, const char *ctr, size_t len)
{
    const struct slot *own = own_slot(fs);

    for (size_t i = 0; own && i < ANCHORS; i++) {
        const struct uufs_anchor *a = &own->anchors[i];

        if (a->len && a->bind < 0 && common_len(a, ctr, len) == len &&
            (len < a->len || a->in_upper))
            return 1;
    }
    return 0;
}
