/* Directories as seen through a descriptor: getdents64 and its ancestor, and getcwd. */
#include "../../base/libc.h"
#include "../../base/str.h"
#include "../../uufs/list/readdir.h"
#include "../../uufs/walk/walk.h"
#include "../fakeroot/cred.h"
#include "../fakeroot/device.h"
#include "../paths/dircache.h"
#include "../paths/resolve.h"
#include "../program/root.h"
#include "../program/usermem.h"

#include <sys/stat.h>

struct entry64 {
    uint64_t ino;
    int64_t off;
    uint16_t reclen;
    uint8_t type;
    char name[];
};

/* Programs offer 32 KiB and more, and most directories fill one page of it: only what is written is
 * checked. */
static OWN_FRAME long
fill(struct call *c, const char *ctr, size_t len, uint32_t node, const struct uufs_hit *hit)
{
    char records[32768];
    size_t size = c->a[2] < sizeof(records) ? c->a[2] : sizeof(records);
    long err = user_writable((void *)c->a[1], size < 8 ? size : 8), n;

    if (err)
        return err;
    n = uufs_getdents(&engine.fs, ctr, len, node, (int)c->a[0], records, size);
    if (n > 0 && hit && emulates_root())
        device_show_types(hit, records, n);
    if (n > 0)
        err = user_put(c->a[1], records, (size_t)n);
    return err ? err : n;
}

/* A directory in which the upper merges with the layers' and that was found lately: no walk has to
 * say where it is. */
static bool
is_known_merged(int fd, struct known_directory *known)
{
    struct stat st;

    return !sys2(SYS_fstat, fd, &st) && S_ISDIR(st.st_mode) &&
           dircache_find(st.st_dev, st.st_ino, known) && known->moves && known->node != VIEW_NONE;
}

static long
getdents(struct call *c)
{
    char ctr[LPMX_PATH_MAX];
    struct known_directory known;
    struct uufs_hit hit;
    bool lower;
    int fd = (int)c->a[0];

    if (!emulates_root() && is_known_merged(fd, &known))
        return fill(c, known.ctr, known.len, known.node, NULL);
    int err = call_fd_path(fd, ctr, sizeof(ctr), &lower);

    if (!err)
        err = uufs_walk(&engine.fs, "/", ctr, 0, &hit);
    if (err == -EACCES && !engine.fs.anchored && !emulates_root())
        return err; /* see anchored.h */
    if (err || !hit.in_union || hit.type != S_IFDIR)
        return sys3(SYS_getdents64, fd, c->a[1], c->a[2]);
    return fill(c, hit.ctr, hit.ctr_len, hit.node, &hit);
}

long
call_getdents64(struct call *c)
{
    return getdents(c);
}

/* The old record has no type byte before the name but one after it: same length, so it is turned in
 * place. */
long
call_getdents(struct call *c)
{
    long n = getdents(c);

    for (long at = 0; at < n;) {
        struct entry64 *e = (struct entry64 *)(c->a[1] + (unsigned long)at);
        uint8_t type = e->type;
        char *name = (char *)&e->type;

        memmove(name, e->name, strlen(e->name) + 1);
        ((char *)e)[e->reclen - 1] = (char)type;
        at += e->reclen;
    }
    return n;
}

long
call_getcwd(struct call *c)
{
    static const char unreachable[] = "(unreachable)";
    char ctr[LPMX_PATH_MAX], text[LPMX_PATH_MAX + sizeof(unreachable)];
    int err = call_base(AT_FDCWD, ctr, sizeof(ctr));
    const char *shown;
    bool outside;
    size_t n = 0;

    if (err)
        return err;
    shown = root_show(ctr, &outside);
    if (outside)
        err = str_append(text, sizeof(text), &n, unreachable, sizeof(unreachable) - 1);
    if (!err)
        err = str_append(text, sizeof(text), &n, shown, strlen(shown));
    if (err)
        return err;
    if (++n > c->a[1])
        return -ERANGE;
    err = user_put(c->a[0], text, n);
    return err ? err : (long)n;
}
