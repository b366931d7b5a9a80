/* The rules of the union, one by one: rename, link, listing, binds and seeds. */
#include "rules_tools.h"

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
    CHECK_EQ(u_rename(&b.fs, "/lonely", "/empty", 0),
             0); /* over a lower one: from a whiteouted place */
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
    CHECK_EQ(u_rename(&b.fs, "/data/one", "/data/one-more", 0),
             0); /* one file, two names: nothing happens */
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
test_a_bind_without_symlinks_answers_as_any(void)
{
    struct box b;

    box_start(&b);
    host_dir(path_in(&b, "site"), 0755);
    host_dir(path_in(&b, "site/package"), 0755);
    host_file(path_in(&b, "site/package/one"), "one", 3, 0644);
    box_bind(&b, path_in(&b, "site"), "/site", UUFS_BIND_RO | UUFS_BIND_NO_LINKS);
    CHECK_TEXT(u_read(&b.fs, "/site/package/one"), "one");
    CHECK_TEXT(u_read(&b.fs, "/site/package/../package/one"), "one");
    CHECK_TEXT(u_read(&b.fs, "/site/package/two"), "E2");
    CHECK_TEXT(u_read(&b.fs, "/site/nothing/one"), "E2");
    CHECK_TEXT(u_read(&b.fs, "/site/package/one/more"), "E20");
    CHECK_TEXT(u_names(&b.fs, "/site/package"), "one ");
    CHECK_EQ(u_mkdir(&b.fs, "/site/package/one", 0755), -EEXIST);
    CHECK_EQ(u_mkdir(&b.fs, "/site/package/new", 0755), -EROFS);
    CHECK_EQ(u_unlink(&b.fs, "/site/package/one"), -EROFS);
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

static void
run_all(void)
{
    test_rename_of_a_lower_file_hides_the_old_name();
    test_rename_of_a_lower_directory_is_exdev_and_of_an_upper_one_works();
    test_rename_of_a_directory_over_lower_names_hides_them();
    test_rename_flags_and_slashes();
    test_link_copies_a_lower_file_up_first();
    test_link_through_a_descriptor_never_links_a_layers_inode();
    test_listing_is_whole_for_every_buffer_size_and_position();
    test_listing_goes_on_rightly_while_names_change();
    test_binds_are_other_file_systems();
    test_a_bind_without_symlinks_answers_as_any();
    test_a_seed_is_a_file_of_the_lowest_layer();
}

int
main(void)
{
    return run_everywhere(run_all, "uufs moves");
}
