/* Lookups on the caller's own stack: no signal is blocked and nothing is held, so they may be
 * interrupted and left at any point; frames are small.
 *
 * Only the plain case: a path below the root or below a known directory, no symlink on the way, no
 * bind; and a stat below a bind that holds no symlink. What the upper has nothing of is answered
 * from the view; what it has, in a directory where a walk stood lately, by one look at the disk.
 * Whatever is not plain is declined and carried out by the walk (uufs/walk/walk.c), whose answers
 * these are. */
#include "lookup.h"

#include "../base/libc.h"
#include "../base/str.h"
#include "../calls/files/lower.h"
#include "../calls/paths/dircache.h"
#include "../calls/program/call.h"
#include "../calls/program/usermem.h"
#include "../engine/plan.h"
#include "../uufs/bind.h"
#include "../uufs/dirty.h"
#include "../uufs/list/readdir.h"
#include "../uufs/walk/walkcache.h"

#include <sys/stat.h>

HOT_FILE;

#define PAGE     4096UL
#define HOST_MAX 1024  /* host paths on the caller's stack */
#define LIST_MAX 32768 /* bytes of records at a time */
#define IN_UPPER 1     /* found: the upper may have it */

struct quick {
    const char *path;      /* the program's, up to the end of its page readable */
    size_t max, len;       /* len: once it was walked */
    uint32_t node, parent; /* parent: of the last component, once it was come to */
    char base[KNOWN_PATH_MAX];
    size_t base_len;     /* 0: the path is absolute */
    uint64_t base_moves; /* see struct known_directory */
    uint64_t moves;      /* IN_UPPER: as they were before it was looked for */
    uint32_t lower;      /* IN_UPPER: what the layers have, or VIEW_NONE */
    bool tree;           /* IN_UPPER: everything may be in the upper */
    char host[HOST_MAX]; /* IN_UPPER: the upper's path; otherwise room for one */
};

/* ---- what stands in the way ---- */

static bool
has_bind_below(const char *ctr, size_t len)
{
    const struct uufs *fs = &engine.fs;

    for (uint32_t i = 0; i < fs->n_binds; i++)
        if (fs->binds[i].dst_len > len && fs->strings[fs->binds[i].dst + len] == '/' &&
            !memcmp(fs->strings + fs->binds[i].dst, ctr, len))
            return true;
    return false;
}

static bool
may_be_upper(const char *ctr, size_t len)
{
    return uufs_dirty_test_tree(&engine.fs, ctr, len) || uufs_dirty_test(&engine.fs, ctr, len);
}

/* The upper has @ctr only if it has all above it. */
static bool
is_all_lower(const char *ctr, size_t len)
{
    size_t end = 1;

    if (!engine.fs.upper)
        return true;
    while (end < len && ctr[end] != '/')
        end++;
    return !may_be_upper(ctr, end);
}

/* ---- the walk ---- */

/* The length of the component at @name, and its hash; 0 for what the walk proper has to see. */
static size_t
component(const char *name, size_t max, uint32_t *hash)
{
    uint32_t h = VIEW_HASH_START;
    size_t len = 0;

    for (; len < max && name[len] && name[len] != '/'; len++)
        h = VIEW_HASH_STEP(h, name[len]);
    *hash = h;
    if (len == max || len > LPMX_NAME_MAX || (name[0] == '.' && (len < 3 || name[1] == 'w')))
        return 0;
    return name[0] == '.' && name[1] == '.' && len == 2 ? 0 : len;
}

/* Take the component from @at to @end. 0, -errno or CALL_DECLINE. */
static long
step(struct quick *q, size_t at, size_t end, uint32_t hash, bool last)
{
    const struct view *view = &engine.fs.view;
    const struct view_node *n = view_node(view, q->node);

    if (!n || S_ISLNK(n->mode))
        return CALL_DECLINE;
    if (!S_ISDIR(n->mode))
        return -ENOTDIR;
    if (!(n->mode & S_IXUSR))
        return CALL_DECLINE;
    if (!q->base_len && (uufs_bind_at(&engine.fs, q->path, end) >= 0 ||
                         (at == 1 && engine.fs.upper && may_be_upper(q->path, end))))
        return CALL_DECLINE;
    q->node = view_child_hashed(view, q->node, q->path + at, end - at, hash);
    if (q->node == VIEW_NONE)
        return -ENOENT;
    return !last && S_ISLNK(view->nodes[q->node].mode) ? CALL_DECLINE : 0;
}

/* The length of the directory's part of an absolute path; 0 for the root's. */
static size_t
directory_length(const struct quick *q)
{
    size_t directory = 0;

    for (size_t len = 1; len < q->max && q->path[len]; len++)
        if (q->path[len] == '/')
            directory = len;
    return directory;
}

static long
walk_from(struct quick *q, size_t at)
{
    for (;;) {
        uint32_t hash, directory = q->node;
        size_t len = component(q->path + at, q->max - at, &hash), end = at + len;
        bool last = len && !q->path[end];
        long r = len ? step(q, at, end, hash, last) : CALL_DECLINE;

        if (last)
            q->parent = directory;
        if (r || last) {
            q->len = end;
            return r;
        }
        at = end + 1;
    }
}

/* ---- in a directory of the upper ---- */

/* q->host: the path below @top. */
static int
compose(struct quick *q, const char *top, size_t top_len)
{
    size_t len = 0;
    int err = str_append(q->host, sizeof(q->host), &len, top, top_len);

    if (!err && q->base_len)
        err = str_append(q->host, sizeof(q->host), &len, q->base, q->base_len);
    if (!err && q->base_len)
        err = str_append(q->host, sizeof(q->host), &len, "/", 1);
    return err ? err : str_append(q->host, sizeof(q->host), &len, q->path, q->len);
}

/* The name at @at in a directory that the upper has; @node: what of the layers shows there. @tree:
 * everything may be in the upper. */
static long
look_up(struct quick *q, size_t at, uint32_t node, bool tree)
{
    const struct uufs *fs = &engine.fs;
    uint32_t hash;
    size_t len = component(q->path + at, q->max - at, &hash), ctr_len;
    const char *ctr = q->host + fs->upper_len;

    q->len = at + len;
    if (!len || q->path[q->len] || compose(q, fs->upper, fs->upper_len))
        return CALL_DECLINE;
    ctr_len = strlen(ctr);
    if (uufs_bind_at(fs, ctr, ctr_len) >= 0)
        return CALL_DECLINE;
    q->lower =
        node == VIEW_NONE ? VIEW_NONE : view_child_hashed(&fs->view, node, q->path + at, len, hash);
    q->tree = tree;
    if (tree || may_be_upper(ctr, ctr_len))
        return IN_UPPER;
    q->node = q->lower;
    return q->node == VIEW_NONE ? -ENOENT : 0;
}

static bool
find_place(const char *ctr, size_t len, struct uufs_place *place)
{
    const struct uufs *fs = &engine.fs;
    uint64_t moves = fs->places ? uufs_moves(fs) : 0;

    return moves && walkcache_find(fs, ctr, len, moves, place);
}

/* Below a directory of whose path the upper has at least a part. */
static long
walk_in_place(struct quick *q, size_t directory)
{
    struct uufs_place place;

    if (!find_place(q->path, directory, &place))
        return CALL_DECLINE;
    q->moves = place.moves;
    q->node = place.node_depth == place.depth ? place.node : VIEW_NONE;
    return place.bare_len ? walk_from(q, directory + 1)
                          : look_up(q, directory + 1, q->node, place.tree_depth);
}

static long
walk_in_known(struct quick *q)
{
    struct uufs_place place;
    bool tree = !find_place(q->base, q->base_len, &place) || place.tree_depth;

    q->moves = q->base_moves;
    return look_up(q, 0, q->node, tree);
}

/* What the upper has there. 0, -ENOENT, or CALL_DECLINE: the layers' would show. */
static long
probe(const struct quick *q, struct stat *st)
{
    long r = sys4(SYS_newfstatat, AT_FDCWD, q->host, st, AT_SYMLINK_NOFOLLOW);

    return !r || (r == -ENOENT && q->lower == VIEW_NONE) ? r : CALL_DECLINE;
}

/* ---- in general ---- */

/* Programs ask for many names of one directory: the last few are remembered. */
static long
walk(struct quick *q)
{
    size_t directory = q->base_len ? 0 : directory_length(q);
    char text[KNOWN_TEXT_MAX];
    uint32_t node;
    long r;

    if (q->base_len && q->base_moves)
        return uufs_dirty_has_closed(&engine.fs) ? CALL_DECLINE : walk_in_known(q);
    if (!directory)
        return walk_from(q, q->base_len ? 0 : 1);
    if (!is_all_lower(q->path, directory))
        return uufs_dirty_has_closed(&engine.fs) ? CALL_DECLINE : walk_in_place(q, directory);
    node = dircache_node(q->path, directory);
    if (node == KNOWN_ABSENT)
        return -ENOENT;
    if (node != VIEW_NONE) {
        q->node = node;
        return walk_from(q, directory + 1);
    }
    if (directory > sizeof(text))
        return walk_from(q, 1);
    memcpy(text, q->path, directory);
    q->parent = VIEW_NONE;
    r = walk_from(q, 1);
    if (memcmp(text, q->path, directory)) /* somebody writes there meanwhile */
        return r;
    if (q->parent != VIEW_NONE)
        dircache_put_node(text, directory, q->parent);
    else if (r == -ENOENT)
        dircache_put_node(text, directory, KNOWN_ABSENT);
    return r;
}

bool
lookup_is_bare(const char *ctr, size_t len)
{
    struct uufs_place place;

    return is_all_lower(ctr, len) || (find_place(ctr, len, &place) && place.bare_len);
}

/* The directory behind @dirfd, if it is the upper's, or one of which all that shows is in the
 * layers. */
static bool
find_directory(int dirfd, struct known_directory *known)
{
    struct stat st;
    long r = dirfd == AT_FDCWD ? sys4(SYS_newfstatat, AT_FDCWD, "", &st, AT_EMPTY_PATH)
                               : sys2(SYS_fstat, dirfd, &st);

    return !r && S_ISDIR(st.st_mode) && dircache_find(st.st_dev, st.st_ino, known) &&
           known->len >= 2 && !has_bind_below(known->ctr, known->len) &&
           (known->moves || (known->node != VIEW_NONE && lookup_is_bare(known->ctr, known->len)));
}

/* The directory that a relative path counts from. */
static bool
find_base(struct quick *q, int dirfd)
{
    struct known_directory known;

    if (!find_directory(dirfd, &known))
        return false;
    memcpy(q->base, known.ctr, known.len + 1);
    q->base_len = known.len;
    q->base_moves = known.moves;
    q->node = known.node;
    return true;
}

/* Find @path. 0 with q->node, IN_UPPER, -errno, or CALL_DECLINE. */
static long
lookup_find(struct quick *q, const void *sp, int dirfd, unsigned long path)
{
    q->path = "";
    q->max = 1;
    if (engine.plan->flags & (PLAN_IDENTITY | PLAN_FAKEROOT) || engine.fs.root)
        return CALL_DECLINE;
    if (!user_on_stack(sp, path, 1) && user_readable((const void *)path, 1))
        return -EFAULT;
    q->path = (const char *)path;
    q->max = PAGE - (path & (PAGE - 1));
    q->base_len = 0;
    q->node = 0;
    if (!q->path[0] || (q->path[0] != '/' && !find_base(q, dirfd)))
        return CALL_DECLINE;
    return walk(q);
}

/* Are all components of @path plain names? */
static bool
is_plain(const char *path, size_t max)
{
    for (;;) {
        uint32_t hash;
        size_t len = component(path, max, &hash);

        if (!len || !path[len])
            return len;
        path += len + 1;
        max -= len + 1;
    }
}

/* The host path of what lookup_find has declined, if it is below a bind that holds no symlink. */
static bool
is_in_plain_bind(const struct quick *q, char *host)
{
    const struct uufs *fs = &engine.fs;
    size_t len = 0, host_len = 0;

    while (len < q->max && q->path[len])
        len++;
    for (uint32_t i = 0; i < fs->n_binds; i++) {
        const struct uufs_bind *b = &fs->binds[i];
        const char *dst = fs->strings + b->dst;

        if (!(b->flags & UUFS_BIND_NO_LINKS) || b->dst_len + 1 >= len || len == q->max ||
            q->path[b->dst_len] != '/' || memcmp(q->path, dst, b->dst_len))
            continue;
        return is_plain(q->path + b->dst_len + 1, q->max - b->dst_len - 1) &&
               !has_bind_below(dst, b->dst_len) &&
               !str_append(host, HOST_MAX, &host_len, fs->strings + b->src, b->src_len) &&
               !str_append(host, HOST_MAX, &host_len, q->path + b->dst_len, len - b->dst_len);
    }
    return false;
}

static const struct view_node *
found(const struct quick *q)
{
    return &engine.fs.view.nodes[q->node];
}

/* ---- the calls ---- */

static long
stat_in_bind(struct quick *q, bool follow, unsigned long buf)
{
    if (!is_in_plain_bind(q, q->host))
        return CALL_DECLINE;
    return sys4(SYS_newfstatat, AT_FDCWD, q->host, buf, follow ? 0 : AT_SYMLINK_NOFOLLOW);
}

/* 0, or CALL_DECLINE where the walk has to say. */
static long
show_directory(const struct quick *q, struct stat *st)
{
    const struct view_node *n = view_node(&engine.fs.view, q->lower);
    const char *ctr = q->host + engine.fs.upper_len;

    if (!n || !S_ISDIR(n->mode))
        return 0;
    return q->tree || uufs_dirty_test_opaque(&engine.fs, ctr, strlen(ctr)) ||
                   !lower_show_merged(n, st)
               ? CALL_DECLINE
               : 0;
}

static long
stat_in_upper(const struct quick *q, const void *sp, bool follow, unsigned long buf)
{
    struct stat st;
    long r = probe(q, &st);

    if (r)
        return r;
    if ((follow && S_ISLNK(st.st_mode)) || (S_ISDIR(st.st_mode) && show_directory(q, &st)))
        return CALL_DECLINE;
    return user_put_near(sp, buf, &st, sizeof(st));
}

static long
quick_stat(const void *sp, int dirfd, unsigned long path, bool follow, unsigned long buf)
{
    struct quick q;
    struct stat st;
    uint64_t device;
    long r = lookup_find(&q, sp, dirfd, path);

    if (r == CALL_DECLINE)
        return stat_in_bind(&q, follow, buf);
    if (r == IN_UPPER)
        return stat_in_upper(&q, sp, follow, buf);
    if (r)
        return r;
    if ((follow && S_ISLNK(found(&q)->mode)) || !lower_device(found(&q)->layer, &device))
        return CALL_DECLINE;
    lower_stat(found(&q), device, &st);
    return user_put_near(sp, buf, &st, sizeof(st));
}

static long
access_in_upper(const struct quick *q, unsigned long mode)
{
    struct stat st;
    long r = probe(q, &st);

    if (r)
        return r;
    if (S_ISLNK(st.st_mode) || mode & ~7UL || engine.fs.read_only)
        return CALL_DECLINE;
    return mode ? sys3(SYS_faccessat, AT_FDCWD, q->host, mode) : 0;
}

static long
quick_access(const void *sp, int dirfd, unsigned long path, unsigned long mode)
{
    struct quick q;
    long r = lookup_find(&q, sp, dirfd, path);

    if (r == IN_UPPER)
        return access_in_upper(&q, mode);
    if (r)
        return r;
    if (mode & ~7UL || S_ISLNK(found(&q)->mode))
        return CALL_DECLINE;
    r = lower_access(found(&q), engine.fs.read_only || !engine.fs.upper, (unsigned)mode);
    return r > 0 ? CALL_DECLINE : r;
}

static long
quick_readlink(const void *sp, int dirfd, unsigned long path, unsigned long buf, long size)
{
    struct quick q;
    size_t len;
    long r = size > 0 ? lookup_find(&q, sp, dirfd, path) : CALL_DECLINE;

    if (r == IN_UPPER) {
        r = sys4(SYS_readlinkat, AT_FDCWD, q.host, buf, size);
        return (r == -ENOENT && q.lower != VIEW_NONE) || r == -EACCES ? CALL_DECLINE : r;
    }
    if (r)
        return r;
    if (!S_ISLNK(found(&q)->mode))
        return -EINVAL;
    len = found(&q)->link_len;
    if (len >= LPMX_PATH_MAX) /* a damaged view */
        return CALL_DECLINE;
    if (len > (size_t)size)
        len = (size_t)size;
    r = user_put_near(sp, buf, view_link(&engine.fs.view, found(&q)), len);
    return r ? r : (long)len;
}

/* The host path of what was found in a layer. */
static int
compose_lower(struct quick *q)
{
    const struct uufs_string *layer = &engine.fs.layers[found(q)->layer];

    return compose(q, engine.fs.strings + layer->off, layer->len);
}

/* Most directories are opened to be asked about at once. */
static void
remember(const struct quick *q)
{
    char ctr[KNOWN_PATH_MAX];
    size_t len = 0;
    uint64_t device;

    if (!lower_device(found(q)->layer, &device))
        return;
    ctr[0] = '\0';
    if (q->base_len && (str_append(ctr, sizeof(ctr), &len, q->base, q->base_len) ||
                        str_append(ctr, sizeof(ctr), &len, "/", 1)))
        return;
    if (!str_append(ctr, sizeof(ctr), &len, q->path, q->len))
        dircache_put(device, found(q)->ino, 0, ctr, q->node);
}

static long
open_in_upper(const struct quick *q, unsigned long flags)
{
    struct stat st;
    long r = probe(q, &st);

    if (r)
        return r;
    if (!S_ISREG(st.st_mode) && (!S_ISDIR(st.st_mode) || q->lower != VIEW_NONE))
        return CALL_DECLINE;
    r = sys4(SYS_openat, AT_FDCWD, q->host, flags | O_LARGEFILE | O_NOFOLLOW, 0);
    if (r == -ELOOP || r == -ENOENT) /* it changed meanwhile */
        return CALL_DECLINE;
    if (r >= 0 && S_ISDIR(st.st_mode))
        dircache_put(st.st_dev, st.st_ino, q->moves, q->host + engine.fs.upper_len, VIEW_NONE);
    return r;
}

/* A file or directory for reading. */
static long
quick_open(const void *sp, int dirfd, unsigned long path, unsigned long flags)
{
    const unsigned long plain =
        O_CLOEXEC | O_LARGEFILE | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_DIRECTORY;
    struct quick q;
    uint32_t type;
    long r = flags & ~plain ? CALL_DECLINE : lookup_find(&q, sp, dirfd, path);

    if (r == IN_UPPER)
        return open_in_upper(&q, flags);
    if (r)
        return r;
    type = found(&q)->mode & S_IFMT;
    if ((type != S_IFDIR && (type != S_IFREG || flags & O_DIRECTORY)) ||
        found(&q)->layer >= engine.fs.n_layers || compose_lower(&q))
        return CALL_DECLINE;
    r = sys4(SYS_openat, AT_FDCWD, q.host, flags | O_LARGEFILE, 0);
    if (r >= 0 && type == S_IFDIR)
        remember(&q);
    return r;
}

/* Records go where the program wants them, page by page as the room turns out to be there. */
static long
fill_records(uint32_t node, int64_t *pos, char *buf, size_t size)
{
    size_t used = 0, room = 0, left = PAGE - ((uintptr_t)buf & (PAGE - 1));
    bool all = uufs_list_lower(&engine.fs.view, node, pos, buf, &used, 0);

    for (; !all && room < size; left = PAGE) {
        if (left > size - room)
            left = size - room;
        if (user_writable(buf + room, left))
            return used ? (long)used : -EFAULT;
        room += left;
        all = uufs_list_lower(&engine.fs.view, node, pos, buf, &used, room);
    }
    return used || all ? (long)used : -EINVAL;
}

/* ".." of what lies in the root is the root, which is the upper's where there is one. */
static bool
has_upper_parent(uint32_t node)
{
    const struct view_node *n = view_node(&engine.fs.view, node);

    return engine.fs.upper && n && n->parent == 0;
}

/* The inode that ".." of a directory of the upper shows; 0: its own. False: not known. */
static bool
find_dotdot(const struct known_directory *known, uint64_t *ino)
{
    const struct view_node *n;
    struct uufs_place place;
    size_t len = known->len;

    while (len && known->ctr[len - 1] != '/')
        len--;
    *ino = 0;
    if (len <= 1) /* in the root */
        return true;
    if (!find_place(known->ctr, len - 1, &place))
        return false;
    n = place.node_depth == place.depth ? view_node(&engine.fs.view, place.node) : NULL;
    *ino = n ? n->ino : 0;
    return !n || n->ino;
}

static long
quick_list(int fd, unsigned long buf, uint32_t size)
{
    uint64_t dotdot;
    struct known_directory known;
    int64_t start, pos;
    long n;

    if (fd < 0 || engine.plan->flags & (PLAN_IDENTITY | PLAN_FAKEROOT) || engine.fs.root ||
        !find_directory(fd, &known))
        return CALL_DECLINE;
    if (known.moves && known.node != VIEW_NONE)
        return uufs_list_ended(&engine.fs.view, known.node, sys3(SYS_lseek, fd, 0, SEEK_CUR))
                   ? 0
                   : CALL_DECLINE;
    if (known.moves)
        return find_dotdot(&known, &dotdot)
                   ? uufs_list_upper(fd, dotdot, (void *)buf, size < LIST_MAX ? size : LIST_MAX)
                   : CALL_DECLINE;
    pos = start = sys3(SYS_lseek, fd, 0, SEEK_CUR);
    if (start < 0 || (start <= 1 && has_upper_parent(known.node)))
        return CALL_DECLINE;
    n = fill_records(known.node, &pos, (char *)buf, size < LIST_MAX ? size : LIST_MAX);
    if (n > 0 && sys3(SYS_lseek, fd, pos, SEEK_SET) < 0)
        return CALL_DECLINE;
    return n;
}

long
lookup_call(long nr, const unsigned long *a, const void *sp)
{
    switch (nr) {
    case SYS_stat:
        return quick_stat(sp, AT_FDCWD, a[0], true, a[1]);
    case SYS_lstat:
        return quick_stat(sp, AT_FDCWD, a[0], false, a[1]);
    case SYS_newfstatat:
        if (a[3] & ~(unsigned long)(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT))
            return CALL_DECLINE;
        return quick_stat(sp, (int)a[0], a[1], !(a[3] & AT_SYMLINK_NOFOLLOW), a[2]);
    case SYS_access:
        return quick_access(sp, AT_FDCWD, a[0], a[1]);
    case SYS_faccessat:
        return quick_access(sp, (int)a[0], a[1], a[2]);
    case SYS_readlink:
        return quick_readlink(sp, AT_FDCWD, a[0], a[1], (int)a[2]);
    case SYS_readlinkat:
        return quick_readlink(sp, (int)a[0], a[1], a[2], (int)a[3]);
    case SYS_open:
        return quick_open(sp, AT_FDCWD, a[0], a[1]);
    case SYS_openat:
        return quick_open(sp, (int)a[0], a[1], a[2]);
    case SYS_getdents64:
        return quick_list((int)a[0], a[1], (uint32_t)a[2]);
    }
    return CALL_DECLINE;
}
