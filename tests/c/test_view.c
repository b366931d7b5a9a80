/* Building a view, reading it back, and finding names in it. */
#include "check.h"
#include "view_tools.h"

static void
test_round_trip_keeps_every_field(void)
{
    struct vb *vb = layer_start(7);
    struct vb_entry e = {.mode = S_IFREG | 0644,
                         .tar_mode = S_IFREG | 04755,
                         .tar_uid = 1,
                         .tar_gid = 2,
                         .nlink = 3,
                         .rdev = 5,
                         .uid = 6,
                         .gid = 7,
                         .mtime_ns = 8,
                         .ctime_ns = 9,
                         .mtime = -10,
                         .ctime = 11,
                         .size = 1ull << 40,
                         .ino = 13,
                         .blocks = 14};

    CHECK_EQ(vb_add(vb, "usr/bin/su", 10, &e), 0);
    struct image image = image_take(vb);
    struct view v;

    CHECK_EQ(view_open(&v, image.map, image.size), 0);
    CHECK_EQ(v.n_nodes, 4);
    CHECK_EQ(v.n_layers, 1);
    CHECK_EQ(v.layers[0].root_ino, 7);
    CHECK_EQ(v.layers[0].diff_id[0], 7);
    CHECK(!memcmp(v.header->chain_id, some_id, 32));
    int64_t i = find_in(&v, "/usr/bin/su");

    CHECK(i > 0);
    const struct view_node *n = view_node(&v, (uint32_t)i);

    CHECK(!strcmp(view_name(&v, n), "su"));
    CHECK_EQ(n->mode, e.mode);
    CHECK_EQ(n->tar_mode, e.tar_mode);
    CHECK_EQ(n->tar_uid, 1);
    CHECK_EQ(n->tar_gid, 2);
    CHECK_EQ(n->nlink, 3);
    CHECK_EQ(n->rdev, 5);
    CHECK_EQ(n->uid, 6);
    CHECK_EQ(n->gid, 7);
    CHECK_EQ(n->mtime_ns, 8);
    CHECK_EQ(n->ctime_ns, 9);
    CHECK_EQ(n->mtime, -10);
    CHECK_EQ(n->ctime, 11);
    CHECK_EQ(n->size, 1ll << 40);
    CHECK_EQ(n->ino, 13);
    CHECK_EQ(n->blocks, 14);
    CHECK_EQ(v.nodes[n->parent].flags, VIEW_IMPLICIT);
    CHECK_EQ(v.nodes[n->parent].mode, S_IFDIR | 0755);
    free(image.map);
}

static void
test_empty_tree_is_one_directory(void)
{
    struct image image = image_take(vb_new());
    struct view v;

    CHECK_EQ(view_open(&v, image.map, image.size), 0);
    CHECK_EQ(v.n_nodes, 1);
    CHECK_EQ(find_in(&v, "/"), 0);
    CHECK_EQ(find_in(&v, ""), 0);
    CHECK_EQ(find_in(&v, "x"), -ENOENT);
    CHECK_EQ(view_child(&v, 0, "x", 1), VIEW_NONE);
    CHECK_EQ(view_child(&v, 1, "x", 1), VIEW_NONE);
    CHECK_EQ(view_child(&v, VIEW_NONE, "x", 1), VIEW_NONE);
    free(image.map);
}

static void
test_last_add_wins(void)
{
    struct vb *vb = layer_start(1);
    struct view v;

    CHECK_EQ(add(vb, "file", S_IFREG | 0600, 0), 0);
    CHECK_EQ(add(vb, "file", S_IFREG | 0644, 0), 0);
    CHECK_EQ(add(vb, "dir/below", S_IFREG | 0644, 0), 0);
    CHECK_EQ(add(vb, "dir", S_IFREG | 0640, 0), 0);
    CHECK_EQ(add_link(vb, "link", "some/target"), 0);
    CHECK_EQ(add(vb, "link/below", S_IFREG | 0644, 0), 0);
    CHECK_EQ(add(vb, "kept/below", S_IFREG | 0644, 0), 0);
    CHECK_EQ(add(vb, "kept", S_IFDIR | 0700, 0), 0);
    CHECK_EQ(add_link(vb, "again", "one"), 0);
    CHECK_EQ(add_link(vb, "again", "another"), 0);
    struct image image = image_take(vb);

    CHECK_EQ(view_open(&v, image.map, image.size), 0);
    CHECK_EQ(v.nodes[find_in(&v, "file")].mode, S_IFREG | 0644);
    CHECK_EQ(v.nodes[find_in(&v, "dir")].mode, S_IFREG | 0640);
    CHECK_EQ(find_in(&v, "dir/below"), -ENOTDIR);
    CHECK(find_in(&v, "link/below") > 0);
    const struct view_node *was_link = &v.nodes[find_in(&v, "link")];

    CHECK_EQ(was_link->mode, S_IFDIR | 0755);
    CHECK_EQ(was_link->flags, VIEW_IMPLICIT);
    CHECK_EQ(was_link->link_len, 0);
    CHECK(!strcmp(view_link(&v, was_link), ""));
    CHECK(find_in(&v, "kept/below") > 0);
    CHECK_EQ(v.nodes[find_in(&v, "kept")].mode, S_IFDIR | 0700);
    CHECK_EQ(v.nodes[find_in(&v, "kept")].flags, 0);
    CHECK(!strcmp(view_link(&v, &v.nodes[find_in(&v, "again")]), "another"));
    free(image.map);
}

static void
test_unclean_paths_are_refused_and_leave_nothing(void)
{
    static const char *const bad[] = {"/a", "a/", "a//b", "./a", "a/.", "..", "a/../b", "."};
    struct vb *vb = layer_start(1);
    char long_name[300];
    struct vb_entry e = entry_of(S_IFREG, 0);
    struct view v;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        CHECK_EQ(add(vb, bad[i], S_IFREG | 0644, 0), -EINVAL);
    CHECK_EQ(vb_add(vb, "a\0b", 3, &e), -EINVAL);
    memset(long_name, 'x', sizeof(long_name));
    CHECK_EQ(vb_add(vb, long_name, 256, &e), -EINVAL);
    CHECK_EQ(vb_add(vb, long_name, 255, &e), 0);
    CHECK_EQ(add(vb, "", S_IFREG | 0644, 0), -EINVAL);
    CHECK_EQ(add(vb, "", S_IFDIR | 0755, VIEW_WHITEOUT), -EINVAL);
    e = entry_of(S_IFLNK | 0777, 0);
    CHECK_EQ(vb_add(vb, "l", 1, &e), -EINVAL);
    e.link_len = 100;
    CHECK_EQ(vb_add(vb, "l", 1, &e), -EINVAL);
    e.link = "a\0b";
    e.link_len = 3;
    CHECK_EQ(vb_add(vb, "l", 1, &e), -EINVAL);
    struct image image = image_take(vb);

    CHECK_EQ(view_open(&v, image.map, image.size), 0);
    CHECK_EQ(v.n_nodes, 2);
    CHECK(view_child(&v, 0, long_name, 255) != VIEW_NONE);
    CHECK_EQ(view_child(&v, 0, long_name, 256), VIEW_NONE);
    CHECK_EQ(view_child(&v, 0, long_name, 0), VIEW_NONE);
    free(image.map);
}

static void
test_names_are_bytes(void)
{
    struct vb *vb = layer_start(1);
    struct view v;
    char name[2] = {0};

    for (int c = 1; c < 256; c++) {
        name[0] = (char)c;
        if (c != '/' && c != '.')
            CHECK_EQ(add(vb, name, S_IFREG | 0644, 0), 0);
    }
    CHECK_EQ(add(vb, "\xff\xfe/\xc3\x28", S_IFREG | 0644, 0), 0);
    struct image image = image_take(vb);

    CHECK_EQ(view_open(&v, image.map, image.size), 0);
    CHECK_EQ(v.n_nodes, 1 + 253 + 2);
    for (int c = 1; c < 256; c++) {
        name[0] = (char)c;
        if (c != '/' && c != '.')
            CHECK(view_child(&v, 0, name, 1) != VIEW_NONE);
    }
    CHECK(find_in(&v, "/\xff\xfe/\xc3\x28") > 0);
    free(image.map);
}

/* The order is the listing order and what the search relies on. */
static void
check_order(const struct view *v, uint32_t dir)
{
    const struct view_node *d = &v->nodes[dir];

    for (uint32_t i = d->first_child; i + 1 < d->first_child + d->n_children; i++)
        CHECK(v->hashes[i] < v->hashes[i + 1] ||
              (v->hashes[i] == v->hashes[i + 1] &&
               strcmp(view_name(v, &v->nodes[i]), view_name(v, &v->nodes[i + 1])) < 0));
}

static void
test_names_of_one_hash_are_told_apart(void)
{
    /* FNV-1a collisions, found by search */
    static const char *const pairs[][2] = {{"costarring", "liquid"}, {"declinate", "macallums"}};
    struct vb *vb = layer_start(1);
    struct view v;

    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        CHECK_EQ(view_hash(pairs[i][0], strlen(pairs[i][0])),
                 view_hash(pairs[i][1], strlen(pairs[i][1])));
        CHECK_EQ(add(vb, pairs[i][0], S_IFREG | 0600, 0), 0);
        CHECK_EQ(add(vb, pairs[i][1], S_IFREG | 0644, 0), 0);
    }
    struct image image = image_take(vb);

    CHECK_EQ(view_open(&v, image.map, image.size), 0);
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        CHECK_EQ(v.nodes[find_in(&v, pairs[i][0])].mode, S_IFREG | 0600);
        CHECK_EQ(v.nodes[find_in(&v, pairs[i][1])].mode, S_IFREG | 0644);
    }
    check_order(&v, 0);
    free(image.map);
}

static void
test_directory_of_100000_names(void)
{
    struct vb *vb = layer_start(1);
    struct view v;
    char path[64];
    unsigned long missing = 0;

    /* Each name twice: a builder that loses one from its index makes a second node of it. */
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 100000; i++) {
            snprintf(path, sizeof(path), "big/%d.fastq", i);
            if (add(vb, path, S_IFREG | 0644, 0))
                missing++;
        }
    struct image image = image_take(vb);

    CHECK_EQ(missing, 0);
    CHECK_EQ(view_open(&v, image.map, image.size), 0);
    CHECK_EQ(v.n_nodes, 100002);
    for (int i = 0; i < 100000; i++) {
        snprintf(path, sizeof(path), "big/%d.fastq", i);
        missing += find_in(&v, path) < 0;
        snprintf(path, sizeof(path), "big/%d.fasta", i);
        missing += find_in(&v, path) != -ENOENT;
    }
    CHECK_EQ(missing, 0);
    check_order(&v, (uint32_t)find_in(&v, "big"));
    free(image.map);
}

/* The builder's index grows while names are added: none may be lost at any size, under any hash. */
static void
test_growth_loses_no_name(void)
{
    for (uint32_t seed = 0; seed < 40; seed++) {
        struct vb *vb = layer_start(1);
        struct view v;
        char name[32];

        for (int round = 0; round < 2; round++)
            for (int i = 0; i < 3000; i++) {
                snprintf(name, sizeof(name), "%u-%d", seed, i);
                CHECK_EQ(add(vb, name, S_IFREG | 0644, 0), 0);
                if (i == 1100) /* right after the index has grown */
                    for (int k = 0; k < 1100; k++) {
                        snprintf(name, sizeof(name), "%u-%d", seed, k);
                        CHECK_EQ(add(vb, name, S_IFREG | 0644, 0), 0);
                    }
            }
        struct image image = image_take(vb);

        CHECK_EQ(view_open(&v, image.map, image.size), 0);
        CHECK_EQ(v.n_nodes, 3001);
        free(image.map);
    }
}

static void
test_deep_tree_needs_no_stack(void)
{
    enum { DEPTH = 100000 };
    struct vb *vb = layer_start(1);
    char *path = malloc(2 * DEPTH);
    struct vb_entry e = entry_of(S_IFREG | 0644, 0);
    struct view v;

    for (int i = 0; i < DEPTH; i++)
        memcpy(path + 2 * i, "d/", 2);
    CHECK_EQ(vb_add(vb, path, 2 * DEPTH - 1, &e), 0);
    struct image image, empty;

    CHECK_EQ(image_of(vb, &image), 0);
    CHECK_EQ(view_open(&v, image.map, image.size), 0);
    CHECK_EQ(v.n_nodes, DEPTH + 1);
    CHECK_EQ(add(vb, "d", S_IFREG, 0), 0); /* dropped again */
    CHECK_EQ(image_of(vb, &empty), 0);
    CHECK_EQ(view_open(&v, empty.map, empty.size), 0);
    CHECK_EQ(v.n_nodes, 2);
    vb_free(vb);
    free(path);
    free(image.map);
    free(empty.map);
}

static void
test_find_resolves_as_the_kernel_does(void)
{
    struct vb *vb = layer_start(1);
    struct view v;
    char name[16], target[16];

    CHECK_EQ(add(vb, "usr/bin/sh", S_IFREG | 0755, 0), 0);
    CHECK_EQ(add(vb, "usr/lib/x/file", S_IFREG | 0644, 0), 0);
    CHECK_EQ(add_link(vb, "bin", "usr/bin"), 0);
    CHECK_EQ(add_link(vb, "abs", "/usr/lib/x"), 0);
    CHECK_EQ(add_link(vb, "usr/up", "../../../usr/lib"), 0);
    CHECK_EQ(add_link(vb, "loop", "loop"), 0);
    CHECK_EQ(add_link(vb, "dangling", "nowhere"), 0);
    CHECK_EQ(add_link(vb, "root", "/"), 0);
    for (int i = 0; i < 45; i++) {
        snprintf(name, sizeof(name), "c%d", i);
        snprintf(target, sizeof(target), i ? "c%d" : "usr", i - 1);
        CHECK_EQ(add_link(vb, name, target), 0);
    }
    struct image image = image_take(vb);

    CHECK_EQ(view_open(&v, image.map, image.size), 0);
    int64_t sh = find_in(&v, "/usr/bin/sh"), usr = find_in(&v, "usr"), x = find_in(&v, "usr/lib/x");

    CHECK(sh > 0 && usr > 0 && x > 0);
    CHECK_EQ(find_in(&v, "/bin/sh"), sh);
    CHECK_EQ(find_in(&v, "//bin/.///sh"), sh);
    CHECK_EQ(find_in(&v, "../../bin/sh"), sh);
    CHECK_EQ(find_in(&v, "usr/lib/../bin/sh"), sh);
    CHECK_EQ(find_in(&v, "abs/.."), find_in(&v, "usr/lib"));
    CHECK_EQ(find_in(&v, "usr/up/x"), x);
    CHECK_EQ(find_in(&v, "root/root/usr"), usr);
    CHECK(S_ISLNK(v.nodes[find_in(&v, "abs")].mode));
    CHECK_EQ(find_in(&v, "abs/"), x);
    CHECK_EQ(view_find(&v, "abs", 3, 1), x);
    CHECK_EQ(view_find(&v, "abs", 3, 0), find_in(&v, "/abs"));
    CHECK_EQ(find_in(&v, "usr/bin/sh/"), -ENOTDIR);
    CHECK_EQ(find_in(&v, "usr/bin/sh/x"), -ENOTDIR);
    CHECK_EQ(find_in(&v, "usr/bin/sh/."), -ENOTDIR);
    CHECK_EQ(find_in(&v, "usr/bin/none"), -ENOENT);
    CHECK_EQ(view_find(&v, "dangling", 8, 1), -ENOENT);
    CHECK(view_find(&v, "dangling", 8, 0) > 0);
    CHECK_EQ(view_find(&v, "loop", 4, 1), -ELOOP);
    CHECK(view_find(&v, "loop", 4, 0) > 0);
    CHECK_EQ(view_find(&v, "c39", 3, 1), usr); /* 40 links, the kernel's limit */
    CHECK_EQ(view_find(&v, "c40", 3, 1), -ELOOP);
    CHECK_EQ(view_find(&v, "usr\0x", 5, 1), -EINVAL);
    char long_path[LPMX_PATH_MAX];

    memset(long_path, '/', sizeof(long_path));
    CHECK_EQ(view_find(&v, long_path, sizeof(long_path), 1), -ENAMETOOLONG);
    CHECK_EQ(view_find(&v, long_path, sizeof(long_path) - 1, 1), 0);
    memset(long_path, 'n', sizeof(long_path));
    CHECK_EQ(view_find(&v, long_path, 256, 1), -ENAMETOOLONG);
    free(image.map);
}

static void
test_write_error_is_told(void)
{
    struct vb *vb = layer_start(1);
    int fd = open("/dev/full", O_WRONLY);

    CHECK_EQ(vb_write(vb, fd, some_id), -ENOSPC);
    close(fd);
    CHECK_EQ(vb_write(vb, -1, some_id), -EBADF);
    vb_free(vb);
}

int
main(void)
{
    test_round_trip_keeps_every_field();
    test_empty_tree_is_one_directory();
    test_last_add_wins();
    test_unclean_paths_are_refused_and_leave_nothing();
    test_names_are_bytes();
    test_names_of_one_hash_are_told_apart();
    test_directory_of_100000_names();
    test_growth_loses_no_name();
    test_deep_tree_needs_no_stack();
    test_find_resolves_as_the_kernel_does();
    test_write_error_is_told();
    return check_done("test_view");
}
