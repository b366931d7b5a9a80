/* The owner records: kept as attributes or beside the file, through copy-up, unlink and reuse of
 * inode numbers, with damaged values, and by many writers. */
#include "rules_tools.h"

#include "uufs/change/owner.h"

#include <sys/wait.h>
#include <sys/xattr.h>

static struct extra_file
file_at(const char *path)
{
    struct extra_file file = {.path = path};

    must(!extra_file_stat(&file), path);
    return file;
}

static void
put(const char *path, mode_t mode)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, mode);

    must(fd >= 0, path);
    close(fd);
}

static void
check_owner(const struct uufs *fs, const char *path, struct owner want)
{
    struct extra_file file = file_at(path);
    struct owner got;

    CHECK_EQ(owner_read(fs, &file, &got), 1);
    CHECK_EQ(got.uid, want.uid);
    CHECK_EQ(got.gid, want.gid);
    CHECK_EQ(got.mode, want.mode);
    CHECK_EQ(got.disk, want.disk);
    CHECK_EQ(got.rdev, want.rdev);
}

static void
test_records_are_read_back(struct box *b)
{
    const struct owner most = {UINT32_MAX - 1, UINT32_MAX, S_IFBLK | 07777, S_IFREG | 0600,
                               UINT32_MAX};
    const struct owner least = {0, 0, 0, 0, 0};
    const char *path = path_in(b, "upper/f");
    struct owner got;

    put(path, 0600);
    struct extra_file file = file_at(path);

    CHECK_EQ(owner_read(&b->fs, &file, &got), 0);
    CHECK_EQ(owner_write(&b->fs, &file, &most), 0);
    check_owner(&b->fs, path, most);
    CHECK_EQ(owner_write(&b->fs, &file, &least), 0);
    check_owner(&b->fs, path, least);
    CHECK_EQ(extra_remove(&b->fs, &file, OWNER_NAME), 0);
    CHECK_EQ(owner_read(&b->fs, &file, &got), 0);
    CHECK_EQ(extra_remove(&b->fs, &file, OWNER_NAME), -ENODATA);
}

static void
test_symlinks_have_records_beside(struct box *b)
{
    const struct owner owner = {5, 6, S_IFLNK | 0777, S_IFLNK | 0777, 0};
    const char *path = path_in(b, "upper/link");

    must(!symlink("nowhere", path), "symlink");
    struct extra_file file = file_at(path);

    CHECK_EQ(owner_write(&b->fs, &file, &owner), 0);
    check_owner(&b->fs, path, owner);
    must(!rename(path, path_in(b, "upper/moved")), "rename");
    check_owner(&b->fs, path_in(b, "upper/moved"), owner);
}

/* A name that was removed by the union takes along what lay beside it, so that a new file with its
 * inode number starts clean, also where no time of birth tells them apart. */
static void
test_an_unlinked_file_is_forgotten(struct box *b)
{
    const struct owner owner = {5, 6, S_IFREG | 0600, S_IFREG | 0600, 0};
    const char *path = path_in(b, "upper/f");
    struct uufs_hit hit;
    char list[64];

    b->fs.extras_beside = true;
    put(path, 0600);
    struct extra_file file = file_at(path);

    CHECK_EQ(owner_write(&b->fs, &file, &owner), 0);
    CHECK_EQ(extra_list_beside(&b->fs, &file, list, sizeof(list)), 6);
    must(!link(path, path_in(b, "upper/twin")), "link");
    uufs_dirty_set(&b->fs, "/f", 2);
    CHECK_EQ(uufs_walk(&b->fs, "/", "/f", 0, &hit), 0);
    CHECK_EQ(uufs_unlink(&b->fs, &hit), 0);
    check_owner(&b->fs, path_in(b, "upper/twin"), owner);
    uufs_dirty_set(&b->fs, "/twin", 5);
    CHECK_EQ(uufs_walk(&b->fs, "/", "/twin", 0, &hit), 0);
    CHECK_EQ(uufs_unlink(&b->fs, &hit), 0);
    CHECK_EQ(access(path_in(b, "work/extra"), F_OK), 0);
    CHECK_EQ(rmdir(path_in(b, "work/extra")), 0);
}

static void
test_damaged_records_are_none(struct box *b)
{
    static const char *const values[] = {
        "",     "1",         "1 2 3 4", "2 0 0 100644 100644 0",           "1 0 0 9 0 0",
        "1 -1", "1 0 0 100", "garbage", "1 99999999999 0 100644 100644 0",
    };
    const char *path = path_in(b, "upper/f");
    char longer[200];
    struct owner got;

    put(path, 0600);
    struct extra_file file = file_at(path);

    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        CHECK_EQ(extra_set(&b->fs, &file, OWNER_NAME, values[i], strlen(values[i])), 0);
        CHECK_EQ(owner_read(&b->fs, &file, &got), 0);
    }
    memset(longer, '1', sizeof(longer));
    CHECK_EQ(extra_set(&b->fs, &file, OWNER_NAME, longer, sizeof(longer)), 0);
    CHECK_EQ(owner_read(&b->fs, &file, &got), 0);
}

static void
test_extras_have_any_value_and_are_listed(struct box *b)
{
    const char *path = path_in(b, "upper/f");
    char big[3000], got[3000], list[64];

    put(path, 0400);
    struct extra_file file = file_at(path);

    memset(big, 0xff, sizeof(big));
    CHECK_EQ(extra_set(&b->fs, &file, "security.capability", big, sizeof(big)), 0);
    CHECK_EQ(extra_get(&b->fs, &file, "security.capability", NULL, 0), sizeof(big));
    CHECK_EQ(extra_get(&b->fs, &file, "security.capability", got, 10), -ERANGE);
    CHECK_EQ(extra_get(&b->fs, &file, "security.capability", got, sizeof(got)), sizeof(got));
    CHECK(!memcmp(big, got, sizeof(big)));
    CHECK_EQ(extra_get(&b->fs, &file, "security.other", got, sizeof(got)), -ENODATA);
    if (b->fs.extras_beside) {
        CHECK_EQ(extra_list_beside(&b->fs, &file, list, sizeof(list)), 20);
        CHECK_TEXT(list, "security.capability");
        CHECK_EQ(extra_list_beside(&b->fs, &file, list, 5), -ERANGE);
        CHECK_EQ(extra_set(&b->fs, &file, "trusted.a/b", "x", 1), -EOPNOTSUPP);
    }
    CHECK_EQ(file_at(path).st.st_mode & 07777, 0400);
}

static void
test_what_was_changed_past_us_is_shown(struct box *b)
{
    const struct owner owner = {5, 6, S_IFREG | 04755, S_IFREG | 0755, 0};
    const char *path = path_in(b, "upper/f");
    struct stat shown;
    struct owner got;

    put(path, 0600);
    must(!chmod(path, 0755), "chmod");
    struct extra_file file = file_at(path);

    CHECK_EQ(owner_write(&b->fs, &file, &owner), 0);
    CHECK_EQ(owner_read(&b->fs, &file, &got), 1);
    shown = file.st;
    owner_apply(&got, &shown);
    CHECK_EQ(shown.st_mode, S_IFREG | 04755);
    must(!chmod(path, 0700), "chmod");
    file = file_at(path);
    shown = file.st;
    owner_apply(&got, &shown);
    CHECK_EQ(shown.st_mode, S_IFREG | 0700);
    CHECK_EQ(shown.st_uid, 5);
}

/* Four processes write whole records over each other; a reader sees one of them, never a mixture.
 */
static void
test_many_writers_leave_a_whole_record(struct box *b)
{
    const char *path = path_in(b, "upper/f");
    struct owner got;
    pid_t pids[4];

    put(path, 0600);
    struct extra_file file = file_at(path);

    for (uint32_t n = 0; n < ARRAY_LEN(pids); n++) {
        pids[n] = fork();
        if (pids[n])
            continue;
        for (uint32_t i = 0; i < 300; i++) {
            uint32_t id = n * 1000 + i;
            struct owner owner = {id, id, S_IFREG | 0600, S_IFREG | 0600, id};

            if (owner_write(&b->fs, &file, &owner))
                _exit(1);
        }
        _exit(0);
    }
    for (int i = 0; i < 2000; i++) {
        int r = owner_read(&b->fs, &file, &got);

        CHECK(r == 0 || (r == 1 && got.uid == got.gid && got.gid == got.rdev));
    }
    for (size_t n = 0; n < ARRAY_LEN(pids); n++) {
        int status;

        waitpid(pids[n], &status, 0);
        CHECK_EQ(status, 0);
    }
    CHECK_EQ(owner_read(&b->fs, &file, &got), 1);
    CHECK_EQ(got.uid % 1000, 299);
}

static void
in_boxes(void (*test)(struct box *))
{
    for (int beside = 0; beside < 2; beside++) {
        struct box b;

        box_start(&b);
        b.fs.extras_beside = beside;
        test(&b);
        box_free(&b);
    }
}

int
main(void)
{
    in_boxes(test_records_are_read_back);
    in_boxes(test_symlinks_have_records_beside);
    in_boxes(test_an_unlinked_file_is_forgotten);
    in_boxes(test_damaged_records_are_none);
    in_boxes(test_extras_have_any_value_and_are_listed);
    in_boxes(test_what_was_changed_past_us_is_shown);
    in_boxes(test_many_writers_leave_a_whole_record);
    return check_done("owner");
}
