/* The contents of a file, moved by the cheapest way the file system offers: reflink, copy in the
 * kernel, read and write.
 *
 * Holes stay holes. The source is a lower file, which nobody changes meanwhile. */
#include "copydata.h"

#include "../../base/libc.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define CHUNK     (1 << 20)
#define IN_KERNEL ((size_t)1 << 30)
#define XATTR_MAX 65536 /* as the kernel's limits for a list and for one value */

struct copy {
    int src, dst;
    bool in_kernel; /* copy_file_range works between the two */
    char *chunk;    /* mapped when it does not */
};

static int
write_all(int fd, const char *data, size_t n, int64_t at)
{
    while (n) {
        long w = sys4(SYS_pwrite64, fd, data, n, at);

        if (w < 0 && w != -EINTR)
            return (int)w;
        if (w > 0) {
            data += w;
            n -= (size_t)w;
            at += w;
        }
    }
    return 0;
}

static int
copy_by_hand(struct copy *c, int64_t at, int64_t end)
{
    if (!c->chunk) {
        long map =
            sys6(SYS_mmap, 0, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (sys_failed(map))
            return (int)map;
        c->chunk = (char *)map;
    }
    while (at < end) {
        size_t want = end - at < CHUNK ? (size_t)(end - at) : CHUNK;
        long n = sys4(SYS_pread64, c->src, c->chunk, want, at);
        int err;

        if (n == -EINTR)
            continue;
        if (n <= 0)
            return (int)n;
        err = write_all(c->dst, c->chunk, (size_t)n, at);
        if (err)
            return err;
        at += n;
    }
    return 0;
}

static bool
is_refusal(long r)
{
    return r == -EXDEV || r == -EINVAL || r == -ENOSYS || r == -EOPNOTSUPP || r == -EPERM ||
           r == -EBADF || r == -EIO || r == -ETXTBSY;
}

static int
copy_range(struct copy *c, int64_t at, int64_t end)
{
    int64_t in = at, out = at;

    while (c->in_kernel && in < end) {
        size_t want = (uint64_t)(end - in) < IN_KERNEL ? (size_t)(end - in) : IN_KERNEL;
        long n = sys6(SYS_copy_file_range, c->src, &in, c->dst, &out, want, 0);

        if (n == -EINTR)
            continue;
        if (n < 0 && !is_refusal(n))
            return (int)n;
        if (n <= 0) /* 0 too: some file systems say so instead of refusing */
            c->in_kernel = false;
    }
    return in < end ? copy_by_hand(c, in, end) : 0;
}

static int
copy_segments(struct copy *c, int64_t size)
{
    int64_t at = 0;

    while (at < size) {
        long data = sys3(SYS_lseek, c->src, at, SEEK_DATA), hole;
        int err;

        if (data == -ENXIO)
            return 0;
        if (data < 0) /* no notion of holes here */
            return copy_range(c, at, size);
        hole = sys3(SYS_lseek, c->src, data, SEEK_HOLE);
        if (hole < 0 || hole > size)
            hole = size;
        err = copy_range(c, data, hole);
        if (err)
            return err;
        at = hole;
    }
    return 0;
}

int
copy_data(int src, int dst)
{
    struct copy c = {.src = src, .dst = dst, .in_kernel = true};
    struct stat st;
    long r = sys2(SYS_fstat, src, &st);
    int err;

    if (r < 0)
        return (int)r;
    if (!st.st_size || sys3(SYS_ioctl, dst, FICLONE, src) == 0)
        return 0;
    err = copy_segments(&c, st.st_size);
    if (!err)
        err = (int)sys2(SYS_ftruncate, dst, st.st_size);
    if (c.chunk)
        sys2(SYS_munmap, c.chunk, CHUNK);
    return err;
}

static int
copy_xattr(const char *src, const char *dst, const char *name, char *value)
{
    long n = sys4(SYS_lgetxattr, src, name, value, XATTR_MAX);

    if (n < 0)
        return 0;
    return (int)sys5(SYS_lsetxattr, dst, name, value, n, 0);
}

int
copy_xattrs(const char *src, const char *dst)
{
    long n = sys3(SYS_llistxattr, src, NULL, 0), map;
    int err = 0;

    if (n <= 0)
        return 0;
    map = sys6(SYS_mmap, 0, 2 * XATTR_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
               0);
    if (sys_failed(map))
        return (int)map;
    char *names = (char *)map;

    n = sys3(SYS_llistxattr, src, names, XATTR_MAX);
    for (long at = 0; at < n && !err; at += (long)strlen(names + at) + 1)
        if (!strncmp(names + at, "user.", 5))
            err = copy_xattr(src, dst, names + at, names + XATTR_MAX);
    sys2(SYS_munmap, names, 2 * XATTR_MAX);
    return err == -EOPNOTSUPP || err == -EPERM ? 0 : err;
}
