/* The rules of the union, one by one: copy-up, whiteouts, directories, rename, link, listing, binds and seeds.
 *
 * The whole list runs several times: as it is, as an ordinary user, and on file systems that lack renameat2's flags,
 * hard links, reflinks, holes and locks (a seccomp filter says no in their place). */
#include "check.h"
#include "union_tools.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/xattr.h>

#define CHECK_TEXT(got, want) check_text(__FILE__, __LINE__, __func__, got, want)

static bool no_exchange; /* the file system of this run has no RENAME_EXCHANGE */

static void
check_text(const char *file, int line, const char *func, const char *got, const char *want)
{
    if (!strcmp(got, want)) {
        check_passed++;
        return;
    }
    check_failed++;
    fprintf(stderr, "%s:%d: %s: \"%s\", not \"%s\"\n", file, line, func, got, want);
}

/* Two layers: a base and one that replaces, hides and adds. */
static void
box_start(struct box *b)
{
    box_new(b);
    box_layer(b);
    layer_dir(b, "usr", 0755);
    layer_dir(b, "usr/bin", 0755);
    layer_symlink(b, "bin", "usr/bin");
    layer_put(b, "usr/bin/sh", "base sh", 0755);
    layer_dir(b, "etc", 0755);
    layer_put(b, "etc/conf", "old conf", 0640);
    layer_put(b, "etc/gone", "gone", 0644);
    layer_dir(b, "data", 0755);
    layer_dir(b, "data/deep", 0751);
    layer_put(b, "data/deep/file", "deep", 0600);
    layer_put(b, "data/one", "1", 0644);
    layer_put(b, "data/two", "2", 0644);
    layer_symlink(b, "data/link", "../etc/conf");
    must(!link(layer_file(b, "data/one"), layer_file(b, "data/one-more")), "link");
    layer_dir(b, "opaque", 0755);
    layer_put(b, "opaque/below", "below", 0644);
    layer_dir(b, "empty", 0755);
    layer_dir(b, "lonely", 0755);
    layer_put(b, "lonely/child", "child", 0644);
    box_layer(b);
    layer_dir(b, "usr", 0755);
    layer_dir(b, "usr/bin", 0755);
    layer_put(b, "usr/bin/x", "x of two", 0755);
    layer_dir(b, "etc", 0755);
    layer_put(b, "etc/conf", "new conf", 0640);
    layer_mark(b, "etc/gone", VIEW_WHITEOUT);
    layer_dir(b, "opaque", 0755);
    layer_put(b, "opaque/above", "above", 0644);
    layer_mark(b, "opaque", VIEW_OPAQUE);
    for (unsigned i = 0; i < b->n_layers; i++) { /* an old mtime, to see it kept */
        const struct timespec old[2] = {{1000000000, 5}, {1000000000, 123456789}};

        must(!utimensat(AT_FDCWD, path_in(b, "layers/%u/fs/etc", i), old, 0), "utimensat");
    }
    const struct timespec old[2] = {{1000000000, 5}, {1000000000, 123456789}};

    must(!utimensat(AT_FDCWD, path_in(b, "layers/0/fs/data/deep"), old, 0), "utimensat");
    must(!utimensat(AT_FDCWD, path_in(b, "layers/0/fs/data/deep/file"), old, 0), "utimensat");
    box_ready(b);
}

static unsigned
work_garbage(const struct box *b)
{
    DIR *dir = opendir(b->work);
    struct dirent *d;
    unsigned n = 0;

    while ((d = readdir(dir)))
        n += strcmp(d->d_name, ".") && strcmp(d->d_name, "..") && strcmp(d->d_name, "lock");
    closedir(dir);
    return n;
}

static void
box_end(struct box *b)
{
    CHECK_EQ(work_garbage(b), 0);
    box_free(b);
}

/* ---- the dirty map ---- */

static void
test_dirty_has_no_false_negative_and_few_false_alarms(void)
{
    struct box b;
    char name[32];
    unsigned alarms = 0;

    box_start(&b);
    for (int i = 0; i < 20000; i++) {
        int n = snprintf(name, sizeof(name), "/in/%d", i);

        uufs_dirty_set(&b.fs, name, (size_t)n);
        CHECK(uufs_dirty_test(&b.fs, name, (size_t)n));
    }
    for (int i = 0; i < 20000; i++) {
        int n = snprintf(name, sizeof(name), "/out/%d", i);

        alarms += uufs_dirty_test(&b.fs, name, (size_t)n);
        alarms += uufs_dirty_test_tree(&b.fs, name, (size_t)n);
    }
    CHECK(alarms < 10);
    CHECK(!uufs_dirty_test_tree(&b.fs, "/in/7", 5));
    uufs_dirty_set_tree(&b.fs, "/in/7", 5);
    CHECK(uufs_dirty_test_tree(&b.fs, "/in/7", 5));
    CHECK(!uufs_dirty_test(&b.fs, "/in", 3));
    struct uufs none = b.fs;

    none.dirty = NULL;
    CHECK(uufs_dirty_test(&none, "/x", 2));
    CHECK(uufs_dirty_test_tree(&none, "/x", 2));
    box_end(&b);
}

/* ---- copy-up ---- */

static void
test_copy_up_keeps_bytes_mode_times_and_leaves_the_layer(void)
{
    struct box b;
    struct stat lower, upper;

    box_start(&b);
    int fd = u_open(&b.fs, "/data/deep/file", O_RDWR, 0);

    CHECK(fd >= 0);
    CHECK(!fstat(fd, &upper));
    CHECK_EQ(upper.st_mode & 07777, 0600);
    CHECK_EQ(upper.st_mtim.tv_sec, 1000000000);
    CHECK_EQ(upper.st_mtim.tv_nsec, 123456789);
    CHECK_EQ(write(fd, "DEEPER", 6), 6);
    close(fd);
    CHECK_TEXT(u_read(&b.fs, "/data/deep/file"), "DEEPER");
    CHECK(!lstat(path_in(&b, "layers/0/fs/data/deep/file"), &lower));
    CHECK_EQ(lower.st_size, 4);
    CHECK(!lstat(path_in(&b, "upper/data/deep"), &upper));
    CHECK_EQ(upper.st_mode & 07777, 0751);
    CHECK_EQ(upper.st_mtim.tv_sec, 1000000000);
    CHECK_EQ(upper.st_mtim.tv_nsec, 123456789);
    CHECK_TEXT(u_names(&b.fs, "/data"), "deep link one one-more two ");
    box_end(&b);
}

static void
test_copy_up_is_whole_past_0xff_and_keeps_holes(void)
{
    struct box b;
    struct stat st, src;
    enum { HOLE = 8 << 20 };
    char *data = malloc(300000), *back = malloc(300000);

    box_new(&b);
    box_layer(&b);
    for (int i = 0; i < 300000; i++)
        data[i] = (char)(i % 7 ? i : 0xff);
    host_file(layer_file(&b, "big"), data, 300000, 0644);
    int fd = open(layer_file(&b, "holes"), O_WRONLY | O_CREAT, 0644);

    must(pwrite(fd, data, 5000, HOLE) == 5000 && !ftruncate(fd, 3 * HOLE) && !fsync(fd), "holes");
    must(!fstat(fd, &src), "fstat");
    close(fd);
    box_ready(&b);
    fd = u_open(&b.fs, "/big", O_RDWR, 0);
    CHECK_EQ(pread(fd, back, 300000, 0), 300000);
    CHECK(!memcmp(data, back, 300000));
    close(fd);
    fd = u_open(&b.fs, "/holes", O_RDWR, 0);
    CHECK(!fstat(fd, &st));
    CHECK_EQ(st.st_size, 3 * HOLE);
    if (!no_exchange) /* the poor file system of the last run knows no holes */
        CHECK(st.st_blocks <= src.st_blocks + 64);
    CHECK_EQ(pread(fd, back, 5000, HOLE), 5000);
    CHECK(!memcmp(data, back, 5000));
    CHECK_EQ(pread(fd, back, 1, HOLE - 1), 1);
    CHECK_EQ(back[0], 0);
    close(fd);
    free(data);
    free(back);
    box_end(&b);
}

static void
test_copy_up_keeps_user_xattrs(void)
{
    struct box b;
    char value[16] = "";

    box_start(&b);
    if (setxattr(path_in(&b, "layers/0/fs/data/one"), "user.note", "hello", 5, 0) ||
        setxattr(path_in(&b, "layers/0/fs/data"), "user.dir", "there", 5, 0)) {
        fprintf(stderr, "no user xattrs here\n");
        box_end(&b);
        return;
    }
    CHECK_EQ(u_chmod(&b.fs, "/data/one", 0400), 0);
    CHECK_EQ(getxattr(path_in(&b, "upper/data/one"), "user.note", value, sizeof(value)), 5);
    CHECK(!memcmp(value, "hello", 5));
    CHECK_EQ(getxattr(path_in(&b, "upper/data"), "user.dir", value, sizeof(value)), 5);
    CHECK(!memcmp(value, "there", 5));
    box_end(&b);
}

static void
test_copy_up_of_symlinks_fifos_and_directories(void)
{
    struct box b;
    struct uufs_hit hit;
    struct stat st;
    char target[64] = "";

    box_new(&b);
    box_layer(&b);
    layer_symlink(&b, "link", "/some/where");
    must(!mkfifo(layer_file(&b, "fifo"), 0620), "mkfifo");
    must(!chmod(layer_file(&b, "fifo"), 0620), "chmod");
    layer_dir(&b, "dir", 0750);
    box_ready(&b);
    CHECK_EQ(uufs_walk(&b.fs, "/", "/link", 0, &hit), 0);
    CHECK_EQ(uufs_copy_up(&b.fs, &hit, UUFS_COPY_DATA), 0);
    CHECK_EQ(hit.where, UUFS_UPPER);
    CHECK_EQ(readlink(hit.host, target, sizeof(target)), 11);
    CHECK(!memcmp(target, "/some/where", 11));
    CHECK_EQ(uufs_walk(&b.fs, "/", "/fifo", 0, &hit), 0);
    CHECK_EQ(uufs_copy_up(&b.fs, &hit, UUFS_COPY_DATA), 0);
    CHECK(!lstat(path_in(&b, "upper/fifo"), &st));
    CHECK_EQ(st.st_mode, S_IFIFO | 0620);
    CHECK_EQ(u_chmod(&b.fs, "/dir", 0700), 0);
    CHECK(!lstat(path_in(&b, "upper/dir"), &st));
    CHECK_EQ(st.st_mode, S_IFDIR | 0700);
    CHECK(!lstat(path_in(&b, "layers/0/fs/dir"), &st));
    CHECK_EQ(st.st_mode, S_IFDIR | 0750);
    box_end(&b);
}

static void
test_copy_up_into_a_directory_without_write_permission(void)
{
    struct box b;
    struct stat st;

    box_start(&b);
    CHECK_EQ(u_chmod(&b.fs, "/data", 0555), 0);
    CHECK_EQ(u_chmod(&b.fs, "/data/one", 0600), 0);
    int fd = u_open(&b.fs, "/data/deep/file", O_WRONLY | O_APPEND, 0);

    CHECK(fd >= 0);
    close(fd);
    CHECK(!lstat(path_in(&b, "upper/data"), &st));
    CHECK_EQ(st.st_mode & 07777, 0555);
    if (geteuid()) {
        CHECK_EQ(u_unlink(&b.fs, "/data/two"), -EACCES);
        CHECK_EQ(u_write(&b.fs, "/data/new", "new"), -EACCES);
        CHECK_EQ(u_mkdir(&b.fs, "/data/newdir", 0755), -EACCES);
        CHECK_EQ(u_rename(&b.fs, "/data/two", "/etc/two", 0), -EACCES);
        CHECK_TEXT(u_read(&b.fs, "/data/two"), "2");
    }
    CHECK_EQ(u_rmdir(&b.fs, "/data/deep"), -ENOTEMPTY);
    box_end(&b);
}

static void
test_without_an_upper_everything_is_read_only(void)
{
    struct box b;

    box_start(&b);
    struct uufs fs = b.fs;

    fs.upper = NULL;
    fs.upper_len = fs.work_len = 0;
    fs.work = NULL;
    CHECK_EQ(u_write(&fs, "/etc/conf", "x"), -EROFS);
    CHECK_EQ(u_write(&fs, "/etc/new", "x"), -EROFS);
    CHECK_EQ(u_mkdir(&fs, "/etc/new", 0755), -EROFS);
    CHECK_EQ(u_unlink(&fs, "/etc/conf"), -EROFS);
    CHECK_EQ(u_rmdir(&fs, "/empty"), -EROFS);
    CHECK_EQ(u_rename(&fs, "/etc/conf", "/etc/other", 0), -EROFS);
    CHECK_EQ(u_link(&fs, "/etc/conf", "/etc/other"), -EROFS);
    CHECK_TEXT(u_names(&fs, "/etc"), "conf ");
    box_end(&b);
}

/* ---- removing ---- */

static void
test_unlink_hides_the_lower_name_and_recreate_shows_the_new(void)
{
    struct box b;

    box_start(&b);
    CHECK_EQ(u_unlink(&b.fs, "/data/one"), 0);
    CHECK_TEXT(u_read(&b.fs, "/data/one"), "E2");
    CHECK_EQ(u_unlink(&b.fs, "/data/one"), -ENOENT);
    CHECK(host_has(path_in(&b, "upper/data/.wh.one")));
    CHECK(host_has(path_in(&b, "layers/0/fs/data/one")));
    CHECK_TEXT(u_names(&b.fs, "/data"), "deep link one-more two ");
    CHECK_EQ(u_write(&b.fs, "/data/one", "again"), 0);
    CHECK_TEXT(u_read(&b.fs, "/data/one"), "again");
    CHECK_TEXT(u_names(&b.fs, "/data"), "deep link one one-more two ");
    CHECK_EQ(u_unlink(&b.fs, "/data/one"), 0);
    CHECK_TEXT(u_read(&b.fs, "/data/one"), "E2");
    CHECK_EQ(u_write(&b.fs, "/fresh", "f"), 0);
    CHECK_EQ(u_unlink(&b.fs, "/fresh"), 0);
    CHECK(!host_has(path_in(&b, "upper/.wh.fresh")));
    CHECK_EQ(u_unlink(&b.fs, "/data"), -EISDIR);
    CHECK_EQ(u_unlink(&b.fs, "/data/two/"), -ENOTDIR);
    box_end(&b);
}

static void
test_reserved_names_are_refused_and_never_shown(void)
{
    struct box b;

    box_start(&b);
    CHECK_EQ(u_write(&b.fs, "/etc/.wh.conf", "x"), -EPERM);
    CHECK_EQ(u_mkdir(&b.fs, "/etc/.wh..wh..opq", 0755), -EPERM);
    CHECK_EQ(u_rename(&b.fs, "/etc/conf", "/etc/.wh.conf", 0), -EPERM);
    CHECK_EQ(u_link(&b.fs, "/etc/conf", "/etc/.wh.conf"), -EPERM);
    CHECK_EQ(u_unlink(&b.fs, "/etc/conf"), 0);
    CHECK_TEXT(u_read(&b.fs, "/etc/.wh.conf"), "E2");
    CHECK_TEXT(u_names(&b.fs, "/etc"), "");
    box_end(&b);
}

static void
test_rmdir_looks_at_the_merged_directory(void)
{
    struct box b;

    box_start(&b);
    CHECK_EQ(u_rmdir(&b.fs, "/data"), -ENOTEMPTY);
    CHECK_EQ(u_rmdir(&b.fs, "/etc/conf"), -ENOTDIR);
    CHECK_EQ(u_rmdir(&b.fs, "/none"), -ENOENT);
    CHECK_EQ(u_rmdir(&b.fs, "/"), -EBUSY);
    CHECK_EQ(u_rmdir(&b.fs, "/bin"), -ENOTDIR);
    CHECK_EQ(u_rmdir(&b.fs, "/empty/"), 0);
    CHECK_EQ(u_rmdir(&b.fs, "/empty"), -ENOENT);
    CHECK_EQ(u_write(&b.fs, "/lonely/new", "n"), 0);
    CHECK_EQ(u_unlink(&b.fs, "/lonely/child"), 0);
    CHECK_EQ(u_rmdir(&b.fs, "/lonely"), -ENOTEMPTY);
    CHECK_EQ(u_unlink(&b.fs, "/lonely/new"), 0);
    CHECK_EQ(u_rmdir(&b.fs, "/lonely"), 0);
    CHECK_TEXT(u_names(&b.fs, "/"), "bin data etc opaque usr ");
    CHECK(!host_has(path_in(&b, "upper/lonely")));
    CHECK_EQ(u_mkdir(&b.fs, "/lonely", 0755), 0);
    CHECK_TEXT(u_names(&b.fs, "/lonely"), "");
    CHECK_TEXT(u_read(&b.fs, "/lonely/child"), "E2");
    CHECK_EQ(u_write(&b.fs, "/lonely/child", "mine"), 0);
    CHECK_EQ(u_unlink(&b.fs, "/lonely/child"), 0);
    CHECK_EQ(u_rmdir(&b.fs, "/lonely"), 0);
    CHECK_EQ(u_rmdir(&b.fs, "/lonely"), -ENOENT);
    box_end(&b);
}

static void
test_rmdir_of_a_directory_without_permissions(void)
{
    struct box b;

    box_start(&b);
    CHECK_EQ(u_unlink(&b.fs, "/lonely/child"), 0);
    CHECK_EQ(u_chmod(&b.fs, "/lonely", 0), 0);
    CHECK_EQ(u_rmdir(&b.fs, "/lonely"), 0);
    CHECK_EQ(u_mkdir(&b.fs, "/lonely", 0), 0);
    CHECK_EQ(u_rmdir(&b.fs, "/lonely"), 0);
    box_end(&b);
}

/* ---- mkdir ---- */

static void
test_mkdir_on_what_exists_is_eexist(void)
{
    struct box b;

    box_start(&b);
    CHECK_EQ(u_mkdir(&b.fs, "/data", 0755), -EEXIST);
    CHECK_EQ(u_mkdir(&b.fs, "/data/", 0755), -EEXIST);
    CHECK_EQ(u_mkdir(&b.fs, "/etc/conf", 0755), -EEXIST);
    CHECK_EQ(u_mkdir(&b.fs, "/bin", 0755), -EEXIST);
    CHECK_EQ(u_mkdir(&b.fs, "/new", 0755), 0);
    CHECK_EQ(u_mkdir(&b.fs, "/new", 0755), -EEXIST);
    CHECK_EQ(u_mkdir(&b.fs, "/none/new", 0755), -ENOENT);
    CHECK_EQ(u_mkdir(&b.fs, "/etc/conf/new", 0755), -ENOTDIR);
    CHECK_EQ(u_mkdir(&b.fs, "/new/trailing/", 0755), 0);
    box_end(&b);
}

static void
test_mkdir_over_a_whiteout_is_opaque_and_honours_umask(void)
{
    struct box b;
    struct stat st;
    mode_t old = umask(027);

    box_start(&b);
    CHECK_EQ(u_unlink(&b.fs, "/data/one"), 0);
    CHECK_EQ(u_mkdir(&b.fs, "/data/one", 0777), 0);
    CHECK(!lstat(path_in(&b, "upper/data/one"), &st));
    CHECK_EQ(st.st_mode & 07777, 0750);
    CHECK(host_has(path_in(&b, "upper/data/one/.wh..wh..opq")));
    CHECK_EQ(u_rmdir(&b.fs, "/data/one"), 0);
    CHECK_EQ(u_mkdir(&b.fs, "/data/one", 0111), 0);
    CHECK(!lstat(path_in(&b, "upper/data/one"), &st));
    CHECK_EQ(st.st_mode & 07777, 0110);
    umask(old);
    box_end(&b);
}

static void
test_symlinked_parents_are_followed_across_layers(void)
{
    struct box b;

    box_start(&b);
    CHECK_TEXT(u_read(&b.fs, "/bin/x"), "x of two");
    CHECK_EQ(u_write(&b.fs, "/bin/tool", "tool"), 0);
    CHECK_TEXT(u_read(&b.fs, "/usr/bin/tool"), "tool");
    CHECK(!host_has(path_in(&b, "upper/bin")));
    CHECK_EQ(u_write(&b.fs, "/data/link", "via link"), 0);
    CHECK_TEXT(u_read(&b.fs, "/etc/conf"), "via link");
    CHECK_TEXT(u_read(&b.fs, "/bin/../etc/conf"), "E2");
    CHECK_TEXT(u_read(&b.fs, "/bin/../bin/sh"), "base sh");
    box_end(&b);
}

static void
test_layer_marks_hide_what_is_below(void)
{
    struct box b;

    box_start(&b);
    CHECK_TEXT(u_read(&b.fs, "/etc/gone"), "E2");
    CHECK_TEXT(u_names(&b.fs, "/opaque"), "above ");
    CHECK_EQ(u_write(&b.fs, "/etc/gone", "back"), 0);
    CHECK_EQ(u_unlink(&b.fs, "/etc/gone"), 0);
    CHECK(!host_has(path_in(&b, "upper/etc/.wh.gone")));
    box_end(&b);
}

/* ---- rename ---- */

static void
test_rename_of_a_lower_file_hides_the_old_name(void)
{
    struct box b;

    box_start(&b);
    CHECK_EQ(u_rename(&b.fs, "/data/two", "/etc/second", 0), 0);
    CHECK_TEXT(u_read(&b.fs, "/data/two"), "E2");
    CHECK_TEXT(u_read(&b.fs, "/etc/second"), "2");
    CHECK(host_has(path_in(&b, "layers/0/fs/data/two")));
    CHECK_EQ(u_rename(&b.fs, "/etc/second", "/etc/conf", 0), 0);
    CHECK_TEXT(u_read(&b.fs, "/etc/conf"), "2");
    CHECK_EQ(u_rename(&b.fs, "/etc/conf", "/data/two", 0), 0);
    CHECK_TEXT(u_read(&b.fs, "/data/two"), "2");
    CHECK_TEXT(u_names(&b.fs, "/etc"), "");
    CHECK_EQ(u_rename(&b.fs, "/data/link", "/data/moved-link", 0), 0);
    CHECK_TEXT(u_names(&b.fs, "/data"), "deep moved-link one one-more two ");
    box_end(&b);
}

static void
test_rename_of_a_lower_directory_is_exdev_and_of_an_upper_one_works(void)
{
    struct box b;

    box_start(&b);
    CHECK_EQ(u_rename(&b.fs, "/data", "/moved", 0), -EXDEV);
    CHECK_EQ(u_write(&b.fs, "/data/new", "n"), 0);
    CHECK_EQ(u_rename(&b.fs, "/data", "/moved", 0), -EXDEV);
    CHECK_TEXT(u_read(&b.fs, "/data/one"), "1");
    CHECK_EQ(u_mkdir(&b.fs, "/new", 0755), 0);
    CHECK_EQ(u_mkdir(&b.fs, "/new/sub", 0755), 0);
    CHECK_EQ(u_write(&b.fs, "/new/sub/file", "inside"), 0);
    CHECK_EQ(u_rename(&b.fs, "/new", "/etc/moved", 0), 0);
    CHECK_TEXT(u_read(&b.fs, "/etc/moved/sub/file"), "inside");
    CHECK_TEXT(u_read(&b.fs, "/new/sub/file"), "E2");
    CHECK_EQ(u_rename(&b.fs, "/etc/moved", "/etc/moved/sub/x", 0), -EINVAL);
    CHECK_EQ(u_rename(&b.fs, "/etc/moved/sub", "/etc/moved", 0), -ENOTEMPTY);
    box_end(&b);
}

static void
test_rename_of_a_directory_over_lower_names_hides_them(void)
{
    struct box b;

    box_start(&b);
    CHECK_EQ(u_mkdir(&b.fs, "/new", 0755), 0);
    CHECK_EQ(u_write(&b.fs, "/new/file", "inside"), 0);
    CHECK_EQ(u_rename(&b.fs, "/new", "/lonely", 0), -ENOTEMPTY);
    CHECK_EQ(u_rename(&b.fs, "/new", "/etc/conf", 0), -ENOTDIR);
    CHECK_EQ(u_rename(&b.fs, "/etc/conf", "/new", 0), -EISDIR);
    CHECK_EQ(u_unlink(&b.fs, "/lonely/child"), 0); /* now merged, and empty but for a whiteout */
    CHECK_EQ(u_rename(&b.fs, "/new", "/lonely", 0), 0);
    CHECK_TEXT(u_names(&b.fs, "/lonely"), "file ");
    CHECK_TEXT(u_names(&b.fs, "/"), "bin data empty etc lonely opaque usr ");
    CHECK_EQ(u_rename(&b.fs, "/lonely", "/empty", 0), 0); /* over a lower one: from a whiteouted place */
    CHECK_TEXT(u_names(&b.fs, "/empty"), "file ");
    CHECK_TEXT(u_read(&b.fs, "/lonely/child"), "E2");
    CHECK_EQ(u_rename(&b.fs, "/empty", "/lonely", 0), 0); /* back over the whiteout */
    CHECK_TEXT(u_names(&b.fs, "/lonely"), "file ");
    CHECK_TEXT(u_read(&b.fs, "/lonely/file"), "inside");
    CHECK_TEXT(u_read(&b.fs, "/empty"), "E2");
    box_end(&b);
}

static void
test_rename_flags_and_slashes(void)
{
    struct box b;

    box_start(&b);
    CHECK_EQ(u_rename(&b.fs, "/data/one", "/data/two", 4), -EINVAL);
    CHECK_EQ(u_rename(&b.fs, "/data/one", "/data/two", 3), -EINVAL);
    CHECK_EQ(u_rename(&b.fs, "/data/one", "/data/two", RENAME_NOREPLACE), -EEXIST);
    CHECK_EQ(u_rename(&b.fs, "/data/one", "/data/none", RENAME_EXCHANGE), -ENOENT);
    CHECK_EQ(u_rename(&b.fs, "/data/two", "/data/none/", 0), -ENOTDIR);
    CHECK_EQ(u_rename(&b.fs, "/data/two/", "/data/none", 0), -ENOTDIR);
    CHECK_EQ(u_rename(&b.fs, "/data/two", "/none/none", 0), -ENOENT);
    CHECK_EQ(u_rename(&b.fs, "/", "/none", 0), -EBUSY);
    CHECK_EQ(u_rename(&b.fs, "/data/two", "/data/two", 0), 0);
    CHECK_EQ(u_rename(&b.fs, "/data/one", "/data/one-more", 0), 0); /* one file, two names: nothing happens */
    CHECK_TEXT(u_names(&b.fs, "/data"), "deep link one one-more two ");
    if (no_exchange) {
        box_end(&b);
        return;
    }
    CHECK_EQ(u_rename(&b.fs, "/data/two", "/data/three", RENAME_NOREPLACE), 0);
    CHECK_EQ(u_rename(&b.fs, "/data/three", "/etc/conf", RENAME_EXCHANGE), 0);
    CHECK_TEXT(u_read(&b.fs, "/etc/conf"), "2");
    CHECK_TEXT(u_read(&b.fs, "/data/three"), "new conf");
    CHECK_EQ(u_rename(&b.fs, "/lonely", "/etc/conf", RENAME_EXCHANGE), -EXDEV);
    CHECK_EQ(u_mkdir(&b.fs, "/dir", 0755), 0);
    CHECK_EQ(u_write(&b.fs, "/dir/in", "in"), 0);
    CHECK_EQ(u_rename(&b.fs, "/dir", "/etc/conf", RENAME_EXCHANGE), 0);
    CHECK_TEXT(u_read(&b.fs, "/etc/conf/in"), "in");
    CHECK_TEXT(u_read(&b.fs, "/dir"), "2");
    box_end(&b);
}

/* ---- link ---- */

static void
test_link_copies_a_lower_file_up_first(void)
{
    struct box b;
    struct stat st, other;

    box_start(&b);
    CHECK_EQ(u_link(&b.fs, "/etc/conf", "/etc/twin"), 0);
    CHECK_EQ(u_write(&b.fs, "/etc/twin", "both"), 0);
    CHECK_TEXT(u_read(&b.fs, "/etc/conf"), "both");
    CHECK(!lstat(path_in(&b, "layers/1/fs/etc/conf"), &st));
    CHECK_EQ(st.st_nlink, 1);
    CHECK_EQ(u_stat(&b.fs, "/etc/conf", &st), 0);
    CHECK_EQ(u_stat(&b.fs, "/etc/twin", &other), 0);
    CHECK_EQ(st.st_ino, other.st_ino);
    CHECK_EQ(u_link(&b.fs, "/etc/conf", "/data/one"), -EEXIST);
    CHECK_EQ(u_link(&b.fs, "/etc", "/etc2"), -EPERM);
    CHECK_EQ(u_link(&b.fs, "/etc/conf", "/etc3/"), -ENOENT);
    CHECK_EQ(u_link(&b.fs, "/none", "/etc3"), -ENOENT);
    box_end(&b);
}

static void
test_link_through_a_descriptor_never_links_a_layers_inode(void)
{
    struct box b;
    struct stat st;
    char path[64];

    box_start(&b);
    box_bind(&b, "/proc", "/proc", UUFS_BIND_PROC);
    int fd = u_open(&b.fs, "/data/two", O_RDONLY, 0);

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    struct uufs_hit from, to;

    CHECK_EQ(uufs_walk(&b.fs, "/", path, UUFS_FOLLOW, &from), 0);
    CHECK_EQ(uufs_walk(&b.fs, "/", "/data/linked", UUFS_MISSING | UUFS_LAST, &to), 0);
    CHECK_EQ(uufs_link(&b.fs, &from, &to), 0);
    CHECK(!lstat(path_in(&b, "layers/0/fs/data/two"), &st));
    CHECK_EQ(st.st_nlink, 1);
    CHECK_TEXT(u_read(&b.fs, "/data/linked"), "2");
    close(fd);
    box_end(&b);
}

/* ---- listing ---- */

static void
test_listing_is_whole_for_every_buffer_size_and_position(void)
{
    static struct names whole, part;
    struct box b;
    char path[64];

    box_start(&b);
    for (int i = 0; i < 300; i++) {
        snprintf(path, sizeof(path), "/data/new-%d", i);
        CHECK_EQ(u_write(&b.fs, path, "n"), 0);
    }
    CHECK_EQ(u_unlink(&b.fs, "/data/two"), 0);
    CHECK_EQ(u_list(&b.fs, "/data", 65536, &whole), 0);
    CHECK_EQ(whole.n, 304);
    for (size_t size = 40; size < 400; size += 24) {
        CHECK_EQ(u_list(&b.fs, "/data", size, &part), 0);
        CHECK_EQ(part.n, whole.n);
        CHECK(!memcmp(part.name, whole.name, whole.n * sizeof(whole.name[0])));
    }
    CHECK_EQ(u_list(&b.fs, "/data", 16, &part), -EINVAL);
    for (unsigned i = 0; i < whole.n; i++) {
        struct stat st;

        snprintf(path, sizeof(path), "/data/%s", whole.name[i]);
        CHECK_EQ(u_stat(&b.fs, path, &st), 0);
        CHECK_EQ(whole.ino[i], st.st_ino);
        CHECK_EQ(whole.type[i], st.st_mode >> 12);
    }
    box_end(&b);
}

static void
test_listing_goes_on_rightly_while_names_change(void)
{
    struct box b;
    struct uufs_hit hit;
    char buf[40], path[64];

    box_start(&b);
    CHECK_EQ(u_write(&b.fs, "/data/a", "a"), 0);
    CHECK_EQ(u_write(&b.fs, "/data/b", "b"), 0);
    CHECK_EQ(uufs_walk(&b.fs, "/", "/data", 0, &hit), 0);
    int fd = open(hit.host, O_RDONLY | O_DIRECTORY), twin;
    unsigned seen = 0;

    for (;;) {
        long n = uufs_getdents(&b.fs, hit.ctr, hit.ctr_len, hit.node, fd, buf, sizeof(buf));

        if (n <= 0) {
            CHECK_EQ(n, 0);
            break;
        }
        const char *name = ((struct u_entry *)buf)->name;

        lseek(fd, ((const struct u_entry *)buf)->off, SEEK_SET); /* seekdir to where telldir was */
        seen++;
        if (name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "/data/%.20s", name); /* rm -r: remove while reading */
        CHECK((strcmp(name, "deep") ? u_unlink(&b.fs, path) : 0) == 0);
        twin = dup(fd); /* the position is shared */
        close(fd);
        fd = twin;
    }
    close(fd);
    CHECK_EQ(seen, 2 + 7);
    CHECK_TEXT(u_names(&b.fs, "/data"), "deep ");
    box_end(&b);
}

/* ---- binds and seeds ---- */

static void
test_binds_are_other_file_systems(void)
{
    struct box b;

    box_start(&b);
    host_dir(path_in(&b, "home"), 0755);
    host_dir(path_in(&b, "other"), 0755);
    host_file(path_in(&b, "home/mine"), "mine", 4, 0644);
    box_bind(&b, path_in(&b, "home"), "/data/deep", 0);
    box_bind(&b, path_in(&b, "other"), "/other", 0);
    box_bind(&b, path_in(&b, "home"), "/ro", UUFS_BIND_RO);
    CHECK_EQ(u_rename(&b.fs, "/data/deep/mine", "/data/mine", 0), -EXDEV);
    CHECK_EQ(u_rename(&b.fs, "/data/one", "/data/deep/one", 0), -EXDEV);
    CHECK_EQ(u_rename(&b.fs, "/data/deep/mine", "/other/mine", 0), -EXDEV);
    CHECK_EQ(u_link(&b.fs, "/data/deep/mine", "/other/mine"), -EXDEV);
    CHECK_EQ(u_rename(&b.fs, "/data/deep", "/data/moved", 0), -EBUSY);
    CHECK_EQ(u_rmdir(&b.fs, "/data/deep"), -EBUSY);
    CHECK_EQ(u_rmdir(&b.fs, "/data"), -ENOTEMPTY);
    CHECK_EQ(u_unlink(&b.fs, "/ro/mine"), -EROFS);
    CHECK_EQ(u_rename(&b.fs, "/ro/mine", "/ro/x", 0), -EROFS);
    CHECK_EQ(u_mkdir(&b.fs, "/ro/new", 0755), -EROFS);
    CHECK_EQ(u_mkdir(&b.fs, "/ro/mine", 0755), -EEXIST);
    CHECK_EQ(u_rename(&b.fs, "/data/deep/mine", "/data/deep/yours", 0), 0);
    CHECK_EQ(u_rename(&b.fs, "/data/deep/yours", "/data/deep/no/", 0), -ENOTDIR);
    CHECK(host_has(path_in(&b, "home/yours")));
    CHECK_EQ(u_mkdir(&b.fs, "/data/deep/dir", 0755), 0);
    CHECK_EQ(u_rename(&b.fs, "/data/deep/dir", "/data/deep/dir2/", 0), 0);
    CHECK_EQ(u_link(&b.fs, "/data/deep/yours", "/data/deep/twin"), 0);
    CHECK_EQ(u_unlink(&b.fs, "/data/deep/yours"), 0);
    CHECK_EQ(u_rmdir(&b.fs, "/data/deep/dir2"), 0);
    CHECK_EQ(u_mkdir(&b.fs, "/deeper", 0755), 0); /* no bind by a bare prefix */
    CHECK(host_has(path_in(&b, "upper/deeper")));
    box_end(&b);
}

static void
test_a_seed_is_a_file_of_the_lowest_layer(void)
{
    struct box b;

    box_start(&b);
    host_file(path_in(&b, "passwd"), "me:x", 4, 0644);
    box_bind(&b, path_in(&b, "passwd"), "/etc/passwd", UUFS_BIND_SEED | UUFS_BIND_FILE);
    box_bind(&b, path_in(&b, "passwd"), "/etc/conf", UUFS_BIND_SEED | UUFS_BIND_FILE);
    CHECK_TEXT(u_read(&b.fs, "/etc/passwd"), "me:x");
    CHECK_TEXT(u_read(&b.fs, "/etc/conf"), "me:x");
    CHECK_TEXT(u_names(&b.fs, "/etc"), "conf passwd ");
    int fd = u_open(&b.fs, "/etc/passwd", O_WRONLY | O_APPEND, 0);

    CHECK(fd >= 0 && write(fd, "!", 1) == 1);
    close(fd);
    CHECK_TEXT(u_read(&b.fs, "/etc/passwd"), "me:x!");
    CHECK_TEXT(u_names(&b.fs, "/etc"), "conf passwd ");
    CHECK_EQ(u_rename(&b.fs, "/etc/passwd", "/etc/passwd-", 0), 0);
    CHECK_TEXT(u_read(&b.fs, "/etc/passwd"), "E2");
    CHECK_TEXT(u_names(&b.fs, "/etc"), "conf passwd- ");
    CHECK_EQ(u_rename(&b.fs, "/etc/passwd-", "/etc/passwd", 0), 0); /* as vipw and useradd do */
    CHECK_EQ(u_unlink(&b.fs, "/etc/passwd"), 0);
    CHECK_TEXT(u_read(&b.fs, "/etc/passwd"), "E2");
    CHECK_EQ(u_unlink(&b.fs, "/etc/conf"), 0);
    CHECK_TEXT(u_names(&b.fs, "/etc"), "");
    CHECK_EQ(u_write(&b.fs, "/etc/conf", "mine"), 0);
    CHECK_TEXT(u_read(&b.fs, "/etc/conf"), "mine");
    box_end(&b);
}

/* ---- a full disk ---- */

static void
test_enospc_leaves_no_trace(void)
{
    struct box b;
    char *big = calloc(1, 4 << 20);

    if (geteuid() || no_exchange) {
        free(big);
        return;
    }
    box_new(&b);
    box_layer(&b);
    host_file(layer_file(&b, "big"), big, 4 << 20, 0644);
    memset(big, 1, 4 << 20);
    host_file(layer_file(&b, "big"), big, 4 << 20, 0644);
    box_ready(&b);
    char *tiny = path_in(&b, "tiny"), command[256];

    host_dir(tiny, 0755);
    snprintf(command, sizeof(command), "mount -t tmpfs -o size=1m lpmx-test %s 2>/dev/null", tiny);
    if (system(command)) {
        fprintf(stderr, "no mount here: a full disk is not tested\n");
    } else {
        snprintf(b.upper, sizeof(b.upper), "%s/tiny/upper", b.root);
        snprintf(b.work, sizeof(b.work), "%s/tiny/work", b.root);
        host_dir(b.upper, 0755);
        host_dir(b.work, 0755);
        b.fs.upper_len = (uint32_t)strlen(b.upper);
        b.fs.work_len = (uint32_t)strlen(b.work);
        CHECK_EQ(u_chmod(&b.fs, "/big", 0600), -ENOSPC);
        CHECK_EQ(work_garbage(&b), 0);
        CHECK(!host_has(path_in(&b, "tiny/upper/big")));
        CHECK_EQ(u_open(&b.fs, "/big", O_RDWR, 0), -ENOSPC);
        CHECK_EQ(u_write(&b.fs, "/big", "small"), 0); /* truncated: its bytes are not needed */
        snprintf(command, sizeof(command), "umount %s", tiny);
        CHECK_EQ(system(command), 0);
        snprintf(b.work, sizeof(b.work), "%s/work", b.root);
    }
    free(big);
    box_end(&b);
}

/* ---- every run ---- */

static void
run_all(void)
{
    test_dirty_has_no_false_negative_and_few_false_alarms();
    test_copy_up_keeps_bytes_mode_times_and_leaves_the_layer();
    test_copy_up_is_whole_past_0xff_and_keeps_holes();
    test_copy_up_keeps_user_xattrs();
    test_copy_up_of_symlinks_fifos_and_directories();
    test_copy_up_into_a_directory_without_write_permission();
    test_without_an_upper_everything_is_read_only();
    test_unlink_hides_the_lower_name_and_recreate_shows_the_new();
    test_reserved_names_are_refused_and_never_shown();
    test_rmdir_looks_at_the_merged_directory();
    test_rmdir_of_a_directory_without_permissions();
    test_mkdir_on_what_exists_is_eexist();
    test_mkdir_over_a_whiteout_is_opaque_and_honours_umask();
    test_symlinked_parents_are_followed_across_layers();
    test_layer_marks_hide_what_is_below();
    test_rename_of_a_lower_file_hides_the_old_name();
    test_rename_of_a_lower_directory_is_exdev_and_of_an_upper_one_works();
    test_rename_of_a_directory_over_lower_names_hides_them();
    test_rename_flags_and_slashes();
    test_link_copies_a_lower_file_up_first();
    test_link_through_a_descriptor_never_links_a_layers_inode();
    test_listing_is_whole_for_every_buffer_size_and_position();
    test_listing_goes_on_rightly_while_names_change();
    test_binds_are_other_file_systems();
    test_a_seed_is_a_file_of_the_lowest_layer();
    test_enospc_leaves_no_trace();
}

/* From now on the call @nr answers @err where its argument @arg is at least @least. */
static void
deny(uint32_t nr, unsigned arg, uint32_t least, uint32_t err)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + 8 * arg),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, least, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | err),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {ARRAY_LEN(filter), filter};

    must(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
    must(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), "seccomp");
}

/* As on NFS: rename takes no flags. */
static void
deny_flags(void)
{
    deny(SYS_renameat2, 4, 1, EINVAL);
    no_exchange = true;
}

/* A file system, or an old kernel, with nothing but the basics. */
static void
deny_all(void)
{
    deny_flags();
    deny(SYS_renameat2, 0, 0, ENOSYS);
    deny(SYS_copy_file_range, 0, 0, EXDEV);
    deny(SYS_flock, 0, 0, ENOLCK);
    deny(SYS_ioctl, 0, 0, EOPNOTSUPP);
    deny(SYS_lseek, 2, SEEK_DATA, EINVAL);
}

enum run { RUN_PLAIN, RUN_USER, RUN_NFS, RUN_POOR };

/* A run of its own process; its counts come back through a shared page. */
static void
run_in_child(enum run run, const char *name)
{
    unsigned long *counts = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status = 0;
    pid_t pid = fork();

    if (!pid) {
        if (run == RUN_USER)
            must(!setgid(65534) && !setuid(65534), "setuid");
        if (run == RUN_NFS)
            deny_flags();
        if (run == RUN_POOR)
            deny_all();
        run_all();
        counts[0] = check_passed;
        counts[1] = check_failed;
        fflush(stderr);
        _exit(0);
    }
    must(waitpid(pid, &status, 0) == pid, "waitpid");
    check_passed += counts[0];
    check_failed += counts[1] + (status != 0);
    if (counts[1] || status)
        fprintf(stderr, "(the above in the run: %s)\n", name);
    munmap(counts, 4096);
}

int
main(void)
{
    run_in_child(RUN_PLAIN, "plain");
    if (!geteuid())
        run_in_child(RUN_USER, "ordinary user");
    run_in_child(RUN_NFS, "no rename flags");
    run_in_child(RUN_POOR, "no rename flags, locks, holes, kernel copies");
    return check_done("uufs");
}
