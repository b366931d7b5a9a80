/* The extras of a file, as its attributes or beside it: see extra.h. */
#include "extra.h"

#include "../../base/str.h"
#include "../dirty.h"
#include "../path.h"
#include "../upper.h"

#include <sys/stat.h>

#define SIDE_FOLDER "/extra"

/* ---- beside the file ---- */

/* The dirty map's key of an inode: no container path begins with two slashes. */
static size_t
inode_key(char *key, uint64_t ino)
{
    memcpy(key, "//i", 3);
    return 3 + str_number(key + 3, ino, 16);
}

static bool
may_be_beside(const struct uufs *fs, const struct stat *st)
{
    char key[24];

    return fs->work && uufs_dirty_test(fs, key, inode_key(key, st->st_ino));
}

/* WORK/extra/INODE-BIRTH into @path: a file that has got a dead one's inode number is another. */
static int
side_folder(const struct uufs *fs, const struct extra_file *file, char *path, size_t *len)
{
    char name[64];
    size_t n = str_number(name, file->st.st_ino, 16);
    struct statx sx;
    int err;

    memset(&sx, 0, sizeof(sx));
    sys5(SYS_statx, AT_FDCWD, file->path, file->follow ? 0 : AT_SYMLINK_NOFOLLOW, STATX_BTIME, &sx);
    name[n++] = '-';
    if (sx.stx_mask & STATX_BTIME)
        n += str_number(name + n,
                        (uint64_t)sx.stx_btime.tv_sec * 1000000000u + sx.stx_btime.tv_nsec, 16);
    err = work_path(fs, SIDE_FOLDER "/", path, len);
    return err ? err : str_append(path, LPMX_PATH_MAX, len, name, n);
}

static int
side_path(const struct uufs *fs, const struct extra_file *file, const char *name, char *path)
{
    size_t len;
    int err = side_folder(fs, file, path, &len);

    for (const char *p = name; *p; p++)
        if (*p == '/')
            return -EOPNOTSUPP;
    if (!err)
        err = str_append(path, LPMX_PATH_MAX, &len, "/", 1);
    return err ? err : str_append(path, LPMX_PATH_MAX, &len, name, strlen(name));
}

static OWN_FRAME long
side_get(const struct uufs *fs, const struct extra_file *file, const char *name, void *value,
         size_t size)
{
    char path[LPMX_PATH_MAX];
    struct stat st;
    long r, fd;

    if (!may_be_beside(fs, &file->st))
        return -ENODATA;
    r = side_path(fs, file, name, path);
    if (r)
        return r;
    fd = sys3(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return fd == -ENOENT ? -ENODATA : fd;
    r = sys2(SYS_fstat, fd, &st);
    if (!r && !size)
        r = st.st_size;
    else if (!r && (size_t)st.st_size > size)
        r = -ERANGE;
    else if (!r)
        r = sys3(SYS_read, fd, value, st.st_size);
    sys1(SYS_close, fd);
    return r;
}

/* Modes are set, not only asked for: the program's umask may be anything. */
static void
make_folder(const char *path)
{
    if (!sys3(SYS_mkdirat, AT_FDCWD, path, 0700))
        sys3(SYS_fchmodat, AT_FDCWD, path, 0700);
}

/* Make the folder of @path (its last part cut off) and the one above. */
static void
side_make_folders(const struct uufs *fs, char *path)
{
    size_t all = fs->work_len + sizeof(SIDE_FOLDER) - 1, own = path_parent(path, strlen(path));
    char cut = path[all];

    path[all] = '\0';
    make_folder(path);
    path[all] = cut;
    cut = path[own];
    path[own] = '\0';
    make_folder(path);
    path[own] = cut;
}

static int
write_file(const char *path, const void *value, size_t size)
{
    long fd = sys4(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), r;

    if (fd < 0)
        return (int)fd;
    sys2(SYS_fchmod, fd, 0600);
    r = sys3(SYS_write, fd, value, size);
    sys1(SYS_close, fd);
    if (r == (long)size)
        return 0;
    sys3(SYS_unlinkat, AT_FDCWD, path, 0);
    return r < 0 ? (int)r : -ENOSPC;
}

static OWN_FRAME int
side_set(const struct uufs *fs, const struct extra_file *file, const char *name, const void *value,
         size_t size)
{
    char path[LPMX_PATH_MAX], temp[LPMX_PATH_MAX], key[24];
    int err = fs->work ? side_path(fs, file, name, path) : -EROFS;

    if (err)
        return err;
    side_make_folders(fs, path);
    do {
        err = upper_temp(fs, temp);
        if (!err)
            err = write_file(temp, value, size);
    } while (err == -EEXIST);
    if (err)
        return err;
    uufs_dirty_set(fs, "//i", 3);
    uufs_dirty_set(fs, key, inode_key(key, file->st.st_ino));
    err = (int)sys4(SYS_renameat, AT_FDCWD, temp, AT_FDCWD, path);
    if (err)
        sys3(SYS_unlinkat, AT_FDCWD, temp, 0);
    return err;
}

static OWN_FRAME int
side_remove(const struct uufs *fs, const struct extra_file *file, const char *name)
{
    char path[LPMX_PATH_MAX];
    int err;

    if (!may_be_beside(fs, &file->st))
        return -ENODATA;
    err = side_path(fs, file, name, path);
    if (err)
        return err;
    err = (int)sys3(SYS_unlinkat, AT_FDCWD, path, 0);
    return err == -ENOENT ? -ENODATA : err;
}

/* ---- an attribute, or beside ---- */

static int
attribute_name(char *attr, const char *name)
{
    size_t len = 0;
    int err = str_append(attr, LPMX_NAME_MAX + 1, &len, EXTRA_ATTR_PREFIX, EXTRA_ATTR_PREFIX_LEN);

    if (!err)
        err = str_append(attr, LPMX_NAME_MAX + 1, &len, name, strlen(name));
    return err ? -ERANGE : 0;
}

static bool
takes_attributes(const struct uufs *fs, const struct extra_file *file)
{
    return !fs->extras_beside && (S_ISREG(file->st.st_mode) || S_ISDIR(file->st.st_mode));
}

int
extra_file_stat(struct extra_file *file)
{
    return (int)sys4(SYS_newfstatat, AT_FDCWD, file->path, &file->st,
                     file->follow ? 0 : AT_SYMLINK_NOFOLLOW);
}

long
extra_get(const struct uufs *fs, const struct extra_file *file, const char *name, void *value,
          size_t size)
{
    char attr[LPMX_NAME_MAX + 1];
    long r = attribute_name(attr, name);

    if (r)
        return r;
    if (takes_attributes(fs, file)) {
        r = sys4(file->follow ? SYS_getxattr : SYS_lgetxattr, file->path, attr, value, size);
        if (r >= 0 || r == -ERANGE)
            return r;
    }
    return side_get(fs, file, name, value, size);
}

/* Writing an attribute needs the owner's write bit. */
static long
set_attribute(const struct extra_file *file, const char *attr, const void *value, size_t size)
{
    long nr = file->follow ? SYS_setxattr : SYS_lsetxattr;
    long r = sys5(nr, file->path, attr, value, size, 0);

    if (r != -EACCES)
        return r;
    sys3(SYS_fchmodat, AT_FDCWD, file->path, (file->st.st_mode & 07777) | 0200);
    r = sys5(nr, file->path, attr, value, size, 0);
    sys3(SYS_fchmodat, AT_FDCWD, file->path, file->st.st_mode & 07777);
    return r;
}

int
extra_set(const struct uufs *fs, const struct extra_file *file, const char *name, const void *value,
          size_t size)
{
    char attr[LPMX_NAME_MAX + 1];
    long r = attribute_name(attr, name);

    if (r)
        return (int)r;
    if (takes_attributes(fs, file)) {
        r = set_attribute(file, attr, value, size);
        if (!r)
            side_remove(fs, file, name);
        if (r != -EOPNOTSUPP && r != -ENOSPC && r != -E2BIG && r != -EPERM && r != -ENOSYS)
            return (int)r;
    }
    return side_set(fs, file, name, value, size);
}

int
extra_remove(const struct uufs *fs, const struct extra_file *file, const char *name)
{
    char attr[LPMX_NAME_MAX + 1];
    long r = attribute_name(attr, name);

    if (r)
        return (int)r;
    if (takes_attributes(fs, file)) {
        r = sys2(file->follow ? SYS_removexattr : SYS_lremovexattr, file->path, attr);
        if (r == -EACCES) {
            sys3(SYS_fchmodat, AT_FDCWD, file->path, (file->st.st_mode & 07777) | 0200);
            r = sys2(file->follow ? SYS_removexattr : SYS_lremovexattr, file->path, attr);
            sys3(SYS_fchmodat, AT_FDCWD, file->path, file->st.st_mode & 07777);
        }
        if (!r)
            return 0;
    }
    return side_remove(fs, file, name);
}

/* Call @one for every name in the folder @fd. */
static OWN_FRAME long
side_names(int fd, char *list, size_t size, bool unlink)
{
    uint64_t buf[256];
    size_t len = 0;
    long n;

    while ((n = sys3(SYS_getdents64, fd, buf, sizeof(buf))) > 0) {
        for (long at = 0; at < n;) {
            const struct linux_entry {
                uint64_t ino;
                int64_t off;
                uint16_t reclen;
                uint8_t type;
                char name[];
            } *e = (const void *)((const char *)buf + at);
            size_t name_len = strlen(e->name) + 1;

            at += e->reclen;
            if (e->name[0] == '.')
                continue;
            if (unlink)
                sys3(SYS_unlinkat, fd, e->name, 0);
            if (list && len + name_len > size)
                return -ERANGE;
            if (list)
                memcpy(list + len, e->name, name_len);
            len += name_len;
        }
    }
    return n < 0 ? n : (long)len;
}

OWN_FRAME long
extra_list_beside(const struct uufs *fs, const struct extra_file *file, char *list, size_t size)
{
    char path[LPMX_PATH_MAX];
    size_t len;
    long r, fd;

    if (!may_be_beside(fs, &file->st))
        return 0;
    r = side_folder(fs, file, path, &len);
    if (r)
        return r;
    fd = sys3(SYS_openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    r = side_names((int)fd, size ? list : NULL, size, false);
    sys1(SYS_close, fd);
    return r;
}

OWN_FRAME void
extra_forget(const struct uufs *fs, const char *host)
{
    struct extra_file file = {.path = host};
    char path[LPMX_PATH_MAX];
    size_t len;
    long fd;

    /* cheap for all who never used it: a container without such files has none of these bits */
    if (!fs->work || !uufs_dirty_test(fs, "//i", 3) || extra_file_stat(&file) ||
        (file.st.st_nlink > 1 && !S_ISDIR(file.st.st_mode)) || !may_be_beside(fs, &file.st) ||
        side_folder(fs, &file, path, &len))
        return;
    fd = sys3(SYS_openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return;
    side_names((int)fd, NULL, 0, true);
    sys1(SYS_close, fd);
    sys3(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}
