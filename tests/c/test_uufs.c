/* The rules of the union, one by one: the dirty map, copy-up, whiteouts, directories, a full disk.
 */
#include "rules_tools.h"

#include <sys/xattr.h>

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
    CHECK(!(b.fs.dirty[0] & UUFS_DIRTY_ELSEWHERE)); /* no name's */
    b.fs.dirty[0] |= UUFS_DIRTY_ELSEWHERE;
    CHECK(uufs_dirty_test(&b.fs, "/x", 2));
    CHECK(uufs_dirty_test_tree(&b.fs, "/x", 2));
    CHECK(uufs_dirty_test_opaque(&b.fs, "/x", 2));
    b.fs.dirty[0] &= ~(uint64_t)UUFS_DIRTY_ELSEWHERE;
    CHECK(!uufs_dirty_test(&b.fs, "/x", 2));
    struct uufs none = b.fs;

    none.dirty = NULL;
    CHECK(uufs_dirty_test(&none, "/x", 2));
    CHECK(uufs_dirty_test_tree(&none, "/x", 2));
    CHECK_EQ(uufs_moves(&none), 0);
    box_end(&b);
}

/* Every bit of a map may be set without the head's changing, whether it has one or is an older one
 * that has not. */
static void
test_dirty_head_is_no_names(void)
{
    struct box b;

    box_start(&b);
    for (int head = 1; head >= 0; head--) {
        unsigned set = 0;

        memset(b.fs.dirty, 0, 1024);
        b.fs.dirty_bits = 1024 * 8;
        b.fs.moves = head ? &b.fs.dirty[1] : NULL;
        for (int i = 0; i < 100000; i++) {
            char name[16];
            int n = snprintf(name, sizeof(name), "/%d", i);

            uufs_dirty_set(&b.fs, name, (size_t)n);
            CHECK(uufs_dirty_test(&b.fs, name, (size_t)n));
        }
        for (int i = 0; i < 1024; i++)
            set += (unsigned)__builtin_popcount(((unsigned char *)b.fs.dirty)[i]);
        CHECK_EQ(set, 1024 * 8 - (head ? UUFS_DIRTY_HEAD * 8 : 1));
        CHECK_EQ(uufs_moves(&b.fs), head ? 1 : 0);
        CHECK(!(b.fs.dirty[0] & UUFS_DIRTY_ELSEWHERE));
    }
    b.fs.moves = &b.fs.dirty[1];
    uufs_moves_add(&b.fs);
    CHECK_EQ(uufs_moves(&b.fs), b.fs.dirty[1] + 1);
    b.fs.dirty[0] |= UUFS_DIRTY_ELSEWHERE;
    CHECK_EQ(uufs_moves(&b.fs), 0);
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

/* All marks are names of one file, and of another once that has as many as it can. */
static void
test_whiteouts_share_a_file(void)
{
    struct box b;
    struct stat first, second;
    char path[64];
    int n = 0;

    box_new(&b);
    box_layer(&b);
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "file%d", i);
        host_file(layer_file(&b, path), "x", 1, 0644);
    }
    box_ready(&b);
    CHECK_EQ(u_unlink(&b.fs, "/file0"), 0);
    CHECK_EQ(u_unlink(&b.fs, "/file1"), 0);
    must(!stat(path_in(&b, "upper/.wh.file0"), &first), "stat");
    must(!stat(path_in(&b, "upper/.wh.file1"), &second), "stat");
    bool shared = first.st_ino == second.st_ino; /* not where links are forbidden */

    CHECK(!shared || second.st_nlink == 3);
    host_dir(path_in(&b, "many"), 0755);
    do
        snprintf(path, sizeof(path), "many/%d", n);
    while (shared && n++ < 70000 && !link(path_in(&b, "work/mark"), path_in(&b, path)));
    CHECK_EQ(u_unlink(&b.fs, "/file2"), 0);
    must(!stat(path_in(&b, "upper/.wh.file2"), &second), "stat");
    if (shared && n < 70000)
        CHECK(first.st_ino != second.st_ino && second.st_nlink == 2);
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "/file%d", i);
        CHECK_EQ(u_stat(&b.fs, path, &first), -ENOENT);
    }
    box_end(&b);
}

static void
test_marks_are_never_shown(void)
{
    struct box b;

    box_start(&b);
    CHECK_EQ(u_unlink(&b.fs, "/etc/conf"), 0);
    CHECK(host_has(path_in(&b, "upper/etc/.wh.conf")));
    CHECK_TEXT(u_read(&b.fs, "/etc/.wh.conf"), "E2");
    CHECK_TEXT(u_names(&b.fs, "/etc"), "");
    box_end(&b);
}

static void
test_names_like_marks_are_names_and_hide_nothing(void)
{
    static const char *const names[] = {"/etc/.wh.conf", "/etc/.wh.", "/etc/.wh+conf",
                                        "/etc/.wh=conf", "/etc/.wh..opq"};
    struct box b;

    box_start(&b);
    CHECK_EQ(u_mkdir(&b.fs, "/etc/.wh..wh..opq", 0755), 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        CHECK_EQ(u_write(&b.fs, names[i], names[i]), 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        CHECK_TEXT(u_read(&b.fs, names[i]), names[i]);
    CHECK(u_read(&b.fs, "/etc/conf")[0] != 'E');
    CHECK_TEXT(u_names(&b.fs, "/etc"),
               ".wh+conf .wh. .wh..opq .wh..wh..opq .wh.conf .wh=conf conf ");
    CHECK(host_has(path_in(&b, "upper/etc/.wh+conf")));
    CHECK(host_has(path_in(&b, "upper/etc/.wh=+conf")));
    CHECK(host_has(path_in(&b, "upper/etc/.wh==conf")));
    CHECK(host_has(path_in(&b, "upper/etc/.wh+.wh..opq")));
    CHECK_EQ(u_rename(&b.fs, "/etc/conf", "/etc/.wh..wh..opq/.wh.conf", 0), 0);
    CHECK(host_has(path_in(&b, "upper/etc/.wh.conf")));
    CHECK_EQ(u_rename(&b.fs, "/etc/.wh..wh..opq", "/etc/.wh=d", 0), 0);
    CHECK(u_read(&b.fs, "/etc/.wh=d/.wh.conf")[0] != 'E');
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        CHECK_EQ(u_unlink(&b.fs, names[i]), 0);
    CHECK_TEXT(u_names(&b.fs, "/etc"), ".wh=d ");
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

static void
run_all(void)
{
    test_dirty_has_no_false_negative_and_few_false_alarms();
    test_dirty_head_is_no_names();
    test_copy_up_keeps_bytes_mode_times_and_leaves_the_layer();
    test_copy_up_is_whole_past_0xff_and_keeps_holes();
    test_copy_up_keeps_user_xattrs();
    test_copy_up_of_symlinks_fifos_and_directories();
    test_copy_up_into_a_directory_without_write_permission();
    test_without_an_upper_everything_is_read_only();
    test_unlink_hides_the_lower_name_and_recreate_shows_the_new();
    test_whiteouts_share_a_file();
    test_marks_are_never_shown();
    test_names_like_marks_are_names_and_hide_nothing();
    test_rmdir_looks_at_the_merged_directory();
    test_rmdir_of_a_directory_without_permissions();
    test_mkdir_on_what_exists_is_eexist();
    test_mkdir_over_a_whiteout_is_opaque_and_honours_umask();
    test_symlinked_parents_are_followed_across_layers();
    test_layer_marks_hide_what_is_below();
    test_enospc_leaves_no_trace();
}

int
main(void)
{
    return run_everywhere(run_all, "uufs");
}
