/* Whiteouts and opaque marks, OCI's: empty files in the upper whose names start with `.wh.`. All
 * are names of one file, WORK/mark, where the file system has hard links: a link is cheaper than a
 * new file, the more so where many files were deleted just now.
 *
 * `.wh.NAME` hides NAME of the layers, `.wh..wh..opq` hides all that the layers have in its
 * directory. A name that is in the upper wins over its own whiteout, so the one may be made before
 * the other goes. */
#include "whiteout.h"

#include "../base/str.h"
#include "dirty.h"
#include "path.h"
#include "upper.h"

#include <sys/stat.h>

HOT_TEXT bool
whiteout_is(const char *name, size_t len)
{
    return len >= WHITEOUT_PREFIX_LEN && !memcmp(name, WHITEOUT_PREFIX, WHITEOUT_PREFIX_LEN);
}

static int
whiteout_path(const struct uufs *fs, const char *ctr, size_t len, char *path)
{
    size_t dir_len = path_parent(ctr, len), at;
    long r = upper_path(fs, ctr, dir_len, path);
    int err;

    if (r < 0)
        return (int)r;
    if (len - dir_len - 1 + WHITEOUT_PREFIX_LEN > LPMX_NAME_MAX)
        return -ENAMETOOLONG;
    at = (size_t)r;
    err = str_append(path, LPMX_PATH_MAX, &at, "/" WHITEOUT_PREFIX, 1 + WHITEOUT_PREFIX_LEN);
    if (!err)
        err = str_append(path, LPMX_PATH_MAX, &at, ctr + dir_len + 1, len - dir_len - 1);
    return err;
}

OWN_FRAME int
whiteout_test(const struct uufs *fs, const char *ctr, size_t len)
{
    char path[LPMX_PATH_MAX];
    int r = fs->upper ? whiteout_path(fs, ctr, len, path) : -ENOENT;

    if (r == -ENAMETOOLONG || r == -ENOENT) /* cannot have been made */
        return 0;
    if (!r)
        r = upper_exists(path, NULL);
    return r == -ENOTDIR ? 0 : r;
}

static int
make_file(const char *path)
{
    long r = sys4(SYS_mknodat, AT_FDCWD, path, S_IFREG | 0600, 0);

    return r == -EEXIST ? 0 : (int)r;
}

static OWN_FRAME int
mark_make(const struct uufs *fs, const char *path)
{
    char mark[LPMX_PATH_MAX];
    size_t len;
    long r = work_path(fs, "/mark", mark, &len);

    if (r)
        return (int)r;
    r = sys5(SYS_linkat, AT_FDCWD, mark, AT_FDCWD, path, 0);
    if (r == -EMLINK)
        sys3(SYS_unlinkat, AT_FDCWD, mark, 0);
    if (r == -EMLINK || r == -ENOENT) { /* it has enough names, or there is none yet */
        r = make_file(mark);
        if (!r)
            r = sys5(SYS_linkat, AT_FDCWD, mark, AT_FDCWD, path, 0);
    }
    if (r == -EPERM || r == -EOPNOTSUPP || r == -ENOSYS || r == -EMLINK)
        return make_file(path);
    return r == -EEXIST ? 0 : (int)r;
}

OWN_FRAME int
whiteout_make(const struct uufs *fs, const char *ctr, size_t len)
{
    char path[LPMX_PATH_MAX];
    int err = whiteout_path(fs, ctr, len, path);

    if (err)
        return err;
    uufs_dirty_set(fs, ctr, len);
    return mark_make(fs, path);
}

OWN_FRAME int
opaque_test(const struct uufs *fs, const char *ctr, size_t len)
{
    char path[LPMX_PATH_MAX];
    long r = upper_path(fs, ctr, len, path);
    size_t at = (size_t)r;
    int err;

    if (r < 0)
        return r == -EROFS ? 0 : (int)r;
    err = str_append(path, sizeof(path), &at, "/" WHITEOUT_OPAQUE, sizeof(WHITEOUT_OPAQUE));
    if (!err)
        err = upper_exists(path, NULL);
    /* a directory that may not be searched shows nothing anyway, but it must still be found itself
     */
    return err == -ENOTDIR || err == -EACCES ? 0 : err;
}

OWN_FRAME int
opaque_make_at(const struct uufs *fs, const char *host_dir, size_t len)
{
    char path[LPMX_PATH_MAX];
    size_t at = 0;
    int err = str_append(path, sizeof(path), &at, host_dir, len);

    if (!err)
        err = str_append(path, sizeof(path), &at, "/" WHITEOUT_OPAQUE, sizeof(WHITEOUT_OPAQUE));
    return err ? err : mark_make(fs, path);
}
