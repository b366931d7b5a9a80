/* The merged directory: what getdents64 shows of it.
 *
 * The position is the descriptor's own file offset, so everything that shares or copies the
 * descriptor goes on where it should. First `.` and `..`, then the lower names in the view's order
 * (replaced by the upper's where it has them, skipped where they are hidden), then the names only
 * the upper has, ordered by hash, so that a position stays right whatever is made or removed
 * meanwhile, then the end. Each call reads the upper's directory anew: no state, no memory kept. */
#include "readdir.h"

#include "../../base/str.h"
#include "../dirty.h"
#include "../escape.h"
#include "../path.h"
#include "../walk/walk.h"
#include "../whiteout.h"
#include "listing.h"

#include <dirent.h>
#include <sys/stat.h>

#define FIRST_CHILD 2

struct emit {
    char *buf;
    size_t size, used;
};

/* Append one record. False: it does not fit. */
static bool
emit_name(struct emit *e, uint64_t ino, int64_t next, unsigned type, const char *name, size_t len)
{
    size_t reclen = (offsetof(struct dir_entry, name) + len + 1 + 7) & ~(size_t)7;
    struct dir_entry *out = (struct dir_entry *)(e->buf + e->used);

    if (reclen > e->size - e->used)
        return false;
    out->ino = ino;
    out->off = next;
    out->reclen = (uint16_t)reclen;
    out->type = (uint8_t)type;
    memcpy(out->name, name, len);
    memset(out->name + len, 0, reclen - offsetof(struct dir_entry, name) - len);
    e->used += reclen;
    return true;
}

static bool
emit_put(struct emit *e, uint64_t ino, int64_t next, unsigned type, const char *name)
{
    return emit_name(e, ino, next, type, name, strlen(name));
}

/* A merged directory being listed. */
struct reader {
    const struct uufs *fs;
    const char *ctr;
    size_t len;
    uint32_t node;
    const struct view_node *dir;
    struct listing upper;
    struct emit out;
    int64_t pos;
};

static uint64_t
node_ino(const struct view *view, uint32_t node)
{
    const struct view_node *n = view_node(view, node);

    return n && n->ino ? n->ino : (uint64_t)node + 1;
}

/* ---- "." and ".." ---- */

/* The inode that the directory @node shows; "/" is the upper's. */
static uint64_t
dir_ino(const struct reader *r, uint32_t node)
{
    struct stat st;

    if (!node && r->fs->upper && !sys4(SYS_newfstatat, AT_FDCWD, r->fs->upper, &st, 0))
        return st.st_ino;
    return node_ino(&r->fs->view, node);
}

static bool
put_dot(struct reader *r)
{
    return emit_put(&r->out, dir_ino(r, r->node), 1, DT_DIR, ".");
}

/* What is above a directory that the layers have is one as well. */
static bool
put_dotdot(struct reader *r)
{
    return emit_put(&r->out, dir_ino(r, r->dir->parent), 2, DT_DIR, "..");
}

/* ---- the lower names ---- */

/* The type of the lower name @n. Where a bind lies on it that is the bind's: a folder, or some kind
 * of file, which may cover a symlink. */
static unsigned
shown_type(const struct reader *r, const struct view_node *n, const char *name)
{
    size_t len = strlen(name), dir_len = r->len == 1 ? 0 : r->len;

    for (uint32_t i = 0; i < r->fs->n_binds; i++) {
        const struct uufs_bind *b = &r->fs->binds[i];
        const char *dst = r->fs->strings + b->dst;

        if (b->dst_len == dir_len + 1 + len && !memcmp(dst, r->ctr, dir_len) &&
            dst[dir_len] == '/' && !memcmp(dst + dir_len + 1, name, len))
            return b->flags & (UUFS_BIND_FILE | UUFS_BIND_SEED) ? DT_UNKNOWN : DT_DIR;
    }
    return (n->mode & S_IFMT) >> 12;
}

/* Does the upper's directory @name of the listed one merge with the layers'? */
static OWN_FRAME bool
merges(const struct reader *r, const char *name)
{
    char ctr[LPMX_PATH_MAX];
    size_t len = 0;

    if (str_append(ctr, sizeof(ctr), &len, r->ctr, r->len == 1 ? 0 : r->len) ||
        str_append(ctr, sizeof(ctr), &len, "/", 1) ||
        str_append(ctr, sizeof(ctr), &len, name, strlen(name)))
        return false;
    return !uufs_dirty_test_opaque(r->fs, ctr, len) || !opaque_test(r->fs, ctr, len);
}

static bool
put_child(struct reader *r, int64_t i)
{
    uint32_t child = r->dir->first_child + (uint32_t)i;
    const struct view_node *n = view_node(&r->fs->view, child);
    const char *name = n ? view_name(&r->fs->view, n) : "";
    const struct dir_entry *upper;

    if (!*name)
        return true;
    upper = listing_shown(&r->upper, name, strlen(name));
    if (upper && upper->type == DT_DIR && S_ISDIR(n->mode) && merges(r, name))
        return emit_put(&r->out, node_ino(&r->fs->view, child), FIRST_CHILD + i + 1, DT_DIR, name);
    if (upper)
        return emit_put(&r->out, upper->ino, FIRST_CHILD + i + 1, upper->type, name);
    if (listing_hides(&r->upper, name, strlen(name)))
        return true;
    return emit_put(&r->out, node_ino(&r->fs->view, child), FIRST_CHILD + i + 1,
                    shown_type(r, n, name), name);
}

/* ---- the upper's names ---- */

/* The name that @e shows, into @name of LPMX_NAME_MAX + 1 bytes. False: it is a mark, or a lower
 * name. */
static bool
is_upper_only(const struct reader *r, const struct dir_entry *e, char *name)
{
    size_t len = strlen(e->name);

    if (whiteout_is(e->name, len) || len > LPMX_NAME_MAX)
        return false;
    memcpy(name, e->name, len + 1);
    len = escape_undo(name, len);
    return view_child(&r->fs->view, r->node, name, len) == VIEW_NONE;
}

/* All names of one hash, from item @at on; a position cannot lie between them. Returns the item
 * after them; 0: no room. */
static size_t
put_hash(struct reader *r, size_t at)
{
    uint64_t hash = r->upper.items[at].hash;
    int64_t base = FIRST_CHILD + (int64_t)r->dir->n_children;
    size_t used = r->out.used;
    char name[LPMX_NAME_MAX + 1];

    for (; at < r->upper.n && r->upper.items[at].hash == hash; at++) {
        const struct dir_entry *e = listing_entry(&r->upper, at);

        if (is_upper_only(r, e, name) &&
            !emit_put(&r->out, e->ino, base + (int64_t)hash + 1, e->type, name)) {
            r->out.used = used;
            return 0;
        }
    }
    r->pos = base + (int64_t)hash + 1;
    return at;
}

/* Fill the buffer from the position on; false when a record did not fit. */
static bool
read_merged(struct reader *r)
{
    int64_t base = FIRST_CHILD + (int64_t)r->dir->n_children;
    size_t at;

    if (r->pos == 0 && !put_dot(r))
        return false;
    if (r->pos == 0)
        r->pos = 1;
    if (r->pos == 1 && !put_dotdot(r))
        return false;
    if (r->pos == 1)
        r->pos = FIRST_CHILD;
    for (; r->pos < base; r->pos++)
        if (!put_child(r, r->pos - FIRST_CHILD))
            return false;
    for (at = listing_from(&r->upper, (uint64_t)(r->pos - base)); at < r->upper.n;) {
        at = put_hash(r, at);
        if (!at)
            return false;
    }
    return true;
}

/* The position behind all names. */
static int64_t
list_end(const struct view_node *dir)
{
    return FIRST_CHILD + (int64_t)dir->n_children + (int64_t)LISTING_HASHES + 1;
}

bool
uufs_list_ended(const struct view *view, uint32_t node, int64_t pos)
{
    const struct view_node *dir = view_node(view, node);

    return dir && pos >= list_end(dir);
}

static long
getdents_merged(struct reader *r, int fd)
{
    long start = sys3(SYS_lseek, fd, 0, SEEK_CUR), err;
    int64_t end = list_end(r->dir);
    bool all;

    if (start < 0)
        return start;
    if (start >= end)
        return 0;
    r->pos = start;
    err = listing_load(&r->upper, r->fs, r->ctr, r->len, r->node);
    if (err)
        return err;
    all = read_merged(r);
    listing_free(&r->upper);
    if (!all && !r->out.used)
        return -EINVAL;
    if (all)
        r->pos = end; /* the next call has nothing to read the upper for */
    if (r->pos != start) {
        err = sys3(SYS_lseek, fd, r->pos, SEEK_SET);
        if (err < 0)
            return err;
    }
    return (long)r->out.used;
}

/* ---- directories without a lower part ---- */

/* Close the gaps that marks leave in @n bytes of records, and call the others what they are. */
static size_t
filter_records(char *buf, size_t n)
{
    size_t kept = 0, reclen;

    for (size_t at = 0; at < n; at += reclen) {
        struct dir_entry *e = (struct dir_entry *)(buf + at);

        reclen = e->reclen;
        if (whiteout_is(e->name, strlen(e->name)))
            continue;
        if (e->name[0] == '.')
            escape_undo(e->name, strlen(e->name));
        if (kept != at)
            memmove(buf + kept, e, reclen);
        kept += reclen;
    }
    return kept;
}

/* ".." is one of the first two, if it is among them. */
static void
set_dotdot(char *buf, size_t n, uint64_t ino)
{
    for (size_t at = 0, i = 0; at < n && i < 2; i++) {
        struct dir_entry *e = (struct dir_entry *)(buf + at);

        if (!strcmp(e->name, ".."))
            e->ino = ino;
        at += e->reclen;
    }
}

long
uufs_list_upper(int fd, uint64_t dotdot, void *buf, size_t size)
{
    for (;;) {
        long n = sys3(SYS_getdents64, fd, buf, size);

        if (n <= 0)
            return n;
        n = (long)filter_records(buf, (size_t)n);
        if (n && dotdot)
            set_dotdot(buf, (size_t)n, dotdot);
        if (n)
            return n;
    }
}

/* The inode that the directory above @ctr shows, where it merges with the layers'; else 0: the
 * disk's. */
static OWN_FRAME uint64_t
merged_parent_ino(const struct uufs *fs, const char *ctr, size_t len)
{
    char parent[LPMX_PATH_MAX];
    struct uufs_hit hit;

    len = path_parent(ctr, len);
    if (!len)
        return 0;
    memcpy(parent, ctr, len);
    parent[len] = '\0';
    if (uufs_lookup(fs, parent, 0, &hit) || hit.node == VIEW_NONE)
        return 0;
    return node_ino(&fs->view, hit.node);
}

long
uufs_getdents(const struct uufs *fs, const char *ctr, size_t len, uint32_t node, int fd, void *buf,
              size_t size)
{
    struct reader r; /* the listing in it is large, and cleared by listing_load */

    r.dir = view_node(&fs->view, node);
    if (!r.dir)
        return uufs_list_upper(fd, merged_parent_ino(fs, ctr, len), buf, size);
    r.fs = fs;
    r.ctr = ctr;
    r.len = len;
    r.node = node;
    r.out = (struct emit){buf, size, 0};
    return getdents_merged(&r, fd);
}

/* ---- directories that are the layers' alone ---- */

/* The record of position @pos: ".", ".." or a child. */
static bool
put_lower(struct emit *out, const struct view *view, uint32_t node, int64_t pos)
{
    const struct view_node *dir = view_node(view, node), *n;
    uint32_t child = dir->first_child + (uint32_t)(pos - FIRST_CHILD);

    if (pos == 0)
        return emit_name(out, node_ino(view, node), 1, DT_DIR, ".", 1);
    if (pos == 1)
        return emit_name(out, node_ino(view, dir->parent), 2, DT_DIR, "..", 2);
    n = view_node(view, child);
    if (!n || !*view_name(view, n))
        return true;
    return emit_name(out, node_ino(view, child), pos + 1, (n->mode & S_IFMT) >> 12,
                     view_name(view, n), n->name_len);
}

bool
uufs_list_lower(const struct view *view, uint32_t node, int64_t *pos, void *buf, size_t *used,
                size_t size)
{
    const struct view_node *dir = view_node(view, node);
    struct emit out = {.buf = buf, .size = size, .used = *used};
    int64_t end = FIRST_CHILD + (int64_t)dir->n_children;

    while (*pos < end && put_lower(&out, view, node, *pos))
        ++*pos;
    *used = out.used;
    return *pos >= end;
}

/* ---- emptiness ---- */

static bool
has_visible_child(const struct uufs *fs, const struct listing *upper, const struct view_node *dir)
{
    for (uint32_t i = 0; i < dir->n_children; i++) {
        const struct view_node *n = view_node(&fs->view, dir->first_child + i);
        const char *name = n ? view_name(&fs->view, n) : "";

        if (*name && !listing_hides(upper, name, strlen(name)))
            return true;
    }
    return false;
}

int
uufs_is_empty(const struct uufs *fs, const char *ctr, size_t len, uint32_t node)
{
    const struct view_node *dir = view_node(&fs->view, node);
    struct listing upper;
    int r = listing_load(&upper, fs, ctr, len, node);

    if (r)
        return r;
    r = 1;
    for (size_t i = 0; i < upper.n && r; i++) {
        const char *name = listing_entry(&upper, i)->name;

        r = whiteout_is(name, strlen(name));
    }
    if (r && dir && !listing_find(&upper, WHITEOUT_OPAQUE, sizeof(WHITEOUT_OPAQUE) - 1))
        r = !has_visible_child(fs, &upper, dir);
    listing_free(&upper);
    return r;
}
