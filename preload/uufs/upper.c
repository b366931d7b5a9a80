/* Primitives on the upper directory: where a name is, how one appears there in one step, who may
 * write meanwhile. */
#include "upper.h"

#include "../base/str.h"
#include "anchor.h"
#include "dirty.h"
#include "escape.h"
#include "path.h"

#include <sys/stat.h>
#include <linux/fs.h>

long
upper_path(const struct uufs *fs, const char *ctr, size_t len, char *host)
{
    size_t host_len = 0;
    int err;

    if (!fs->upper)
        return -EROFS;
    err = str_append(host, LPMX_PATH_MAX, &host_len, fs->upper, fs->upper_len);
    if (!err && len > 1)
        err = uufs_dirty_has_escapes(fs) ? escape_append(host, LPMX_PATH_MAX, &host_len, ctr, len)
                                         : str_append(host, LPMX_PATH_MAX, &host_len, ctr, len);
    if (!err && fs->anchored) {
        long by_anchor = anchors_path(fs, -1, ctr, len > 1 ? len : 0, host);

        return by_anchor ? by_anchor : (long)host_len;
    }
    return err ? err : (long)host_len;
}

int
upper_take(const struct uufs *fs, struct uufs_hit *hit)
{
    long len = upper_path(fs, hit->ctr, hit->ctr_len, hit->host);

    if (len < 0)
        return (int)len;
    hit->host_len = (uint32_t)len;
    return 0;
}

int
work_path(const struct uufs *fs, const char *name, char *path, size_t *len)
{
    int err;

    *len = 0;
    err = str_append(path, LPMX_PATH_MAX, len, fs->work, fs->work_len);
    return err ? err : str_append(path, LPMX_PATH_MAX, len, name, strlen(name));
}

int
upper_temp(const struct uufs *fs, char *path)
{
    static uint32_t counter;
    uint32_t random = 0;
    uint64_t parts[3];
    size_t len = 0;
    int err;

    if (!fs->work)
        return -EROFS;
    sys3(SYS_getrandom, &random, sizeof(random), 1 /* GRND_NONBLOCK */);
    parts[0] = (uint64_t)sys0(SYS_gettid);
    parts[1] = __atomic_fetch_add(&counter, 1, __ATOMIC_RELAXED);
    parts[2] = random;
    err = work_path(fs, "/tmp", path, &len);
    for (size_t i = 0; i < ARRAY_LEN(parts) && !err; i++) {
        char digits[24] = ".";
        size_t n = str_decimal(digits + 1, parts[i]);

        err = str_append(path, LPMX_PATH_MAX, &len, digits, n + 1);
    }
    return err;
}

int
upper_exists(const char *host, uint32_t *mode)
{
    struct stat st;
    long r = sys4(SYS_newfstatat, AT_FDCWD, host, &st, AT_SYMLINK_NOFOLLOW);

    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return (int)r;
    if (mode)
        *mode = st.st_mode;
    return 1;
}

/* Neither renameat2 nor, for what it can do, link: only the lock keeps others out. */
static int
publish_unsafe(const char *temp, const char *host)
{
    int r = upper_exists(host, NULL);

    if (r)
        return r < 0 ? r : -EEXIST;
    return (int)sys4(SYS_renameat, AT_FDCWD, temp, AT_FDCWD, host);
}

int
upper_publish(const char *temp, const char *host, bool directory)
{
    long r = sys5(SYS_renameat2, AT_FDCWD, temp, AT_FDCWD, host, RENAME_NOREPLACE);

    if (r != -EINVAL && r != -ENOSYS)
        return (int)r;
    if (directory)
        return publish_unsafe(temp, host);
    r = sys5(SYS_linkat, AT_FDCWD, temp, AT_FDCWD, host, 0);
    if (r == -EPERM || r == -EOPNOTSUPP || r == -ENOSYS)
        return publish_unsafe(temp, host);
    if (!r)
        sys3(SYS_unlinkat, AT_FDCWD, temp, 0);
    return (int)r;
}

bool
upper_may_have(const struct uufs *fs, const char *ctr, size_t len)
{
    if (!fs->upper)
        return false;
    if (len <= 1 || uufs_dirty_test(fs, ctr, len))
        return true;
    for (; len; len = path_parent(ctr, len))
        if (uufs_dirty_test_tree(fs, ctr, len))
            return true;
    return false;
}

/* The guarded directory's path is the name's, cut at the last slash while it is used. */
static long
guard_stat(const struct upper_guard *guard, struct stat *st)
{
    long r;

    guard->host[guard->dir_len] = '\0';
    r = sys4(SYS_newfstatat, AT_FDCWD, guard->host, st, 0);
    guard->host[guard->dir_len] = '/';
    return r;
}

static void
guard_chmod(const struct upper_guard *guard, uint32_t mode)
{
    guard->host[guard->dir_len] = '\0';
    sys3(SYS_fchmodat, AT_FDCWD, guard->host, mode);
    guard->host[guard->dir_len] = '/';
}

int
upper_guard(struct upper_guard *guard, char *host, size_t len)
{
    struct stat st;
    long r;

    guard->host = host;
    guard->dir_len = path_parent(host, len);
    r = guard_stat(guard, &st);
    if (r < 0)
        return (int)r;
    guard->mode = st.st_mode & 07777;
    guard->narrow = (guard->mode & 0300) != 0300;
    guard->times[0] = (struct timespec){.tv_nsec = UTIME_OMIT};
    guard->times[1] = st.st_mtim;
    if (guard->narrow)
        guard_chmod(guard, guard->mode | 0300);
    return 0;
}

void
upper_release(struct upper_guard *guard)
{
    guard->host[guard->dir_len] = '\0';
    sys4(SYS_utimensat, AT_FDCWD, guard->host, guard->times, 0);
    guard->host[guard->dir_len] = '/';
    if (guard->narrow)
        guard_chmod(guard, guard->mode);
}
