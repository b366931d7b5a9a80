/* Damaged and malicious view files: cut, bits flipped, fields replaced, tables moved. The claim is
 * that the sanitizers stay silent and everything ends; where a file must be refused it says so. */
#include "../fuzz/fuzz_view.c"

#include "check.h"

static struct image
sample(void)
{
    struct vb *vb = layer_start(1);

    add(vb, "usr/bin/sh", S_IFREG | 0755, 0);
    add(vb, "usr/bin/env", S_IFREG | 0755, 0);
    add(vb, "d/d/d/d", S_IFREG | 0644, 0);
    add(vb, "\xff/a", S_IFREG | 0644, 0);
    add(vb, "gone", 0, VIEW_WHITEOUT);
    add(vb, "opaque", S_IFDIR | 0755, VIEW_OPAQUE);
    add(vb, "opaque/own", S_IFREG | 0644, 0);
    add_link(vb, "bin", "usr/bin");
    add_link(vb, "loop", "loop");
    add_link(vb, "abs", "/usr");
    return image_take(vb);
}

static void
feed(const struct image *image)
{
    LLVMFuzzerTestOneInput(image->map, image->size);
    check_passed++; /* it came back */
}

static struct view_header *
header_of(struct image *image)
{
    return image->map;
}

static struct view_node *
nodes_of(struct image *image)
{
    return (struct view_node *)((char *)image->map + header_of(image)->nodes);
}

static int
open_of(struct image *image)
{
    struct view v;

    return view_open(&v, image->map, image->size);
}

static int
merge_of(struct image *image)
{
    struct vb *vb = vb_new();
    int err = vb_merge(vb, image->map, image->size);

    vb_free(vb);
    return err;
}

static void
test_cut_file_is_refused(void)
{
    struct image whole = sample();

    for (uint64_t size = 0; size < whole.size; size++) {
        struct image cut = {malloc(size ? size : 1), size};

        memcpy(cut.map, whole.map, size);
        CHECK_EQ(open_of(&cut), -EBADMSG);
        if (size >= sizeof(struct view_header)) { /* and one that says it is as short as it is */
            header_of(&cut)->file_size = size;
            CHECK_EQ(open_of(&cut), -EBADMSG);
        }
        feed(&cut);
        free(cut.map);
    }
    free(whole.map);
}

static void
test_header_fields_are_checked(void)
{
    static const uint64_t values[] = {
        0,          1,          7,         1ull << 31,     UINT32_MAX - 1, UINT32_MAX,
        1ull << 32, 1ull << 61, INT64_MAX, UINT64_MAX - 7, UINT64_MAX};
    struct image image = sample();
    struct view_header good = *header_of(&image), *h = header_of(&image);
    uint64_t *wide[] = {&h->file_size, &h->layers, &h->nodes,
                        &h->hashes,    &h->bytes,  &h->bytes_size};
    uint32_t *narrow[] = {&h->version, &h->header_size, &h->n_nodes};

    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        for (size_t k = 0; k < ARRAY_LEN(wide); k++) {
            *wide[k] = values[i];
            /* fewer bytes of names is a valid file with bad names */
            if (!(wide[k] == &h->bytes_size && values[i] && values[i] < 8))
                CHECK_EQ(open_of(&image), -EBADMSG);
            feed(&image);
            *h = good;
        }
        for (size_t k = 0; k < ARRAY_LEN(narrow); k++) {
            *narrow[k] = (uint32_t)values[i];
            feed(&image);
            *h = good;
        }
    }
    h->n_nodes = 0;
    CHECK_EQ(open_of(&image), -EBADMSG);
    *h = good;
    h->version++;
    CHECK_EQ(open_of(&image), -EBADMSG);
    *h = good;
    h->nodes += 4;
    CHECK_EQ(open_of(&image), -EBADMSG);
    *h = good;
    h->magic[0] ^= 1;
    CHECK_EQ(open_of(&image), -EBADMSG);
    *h = good;
    nodes_of(&image)[0].mode = S_IFREG;
    CHECK_EQ(open_of(&image), -EBADMSG);
    free(image.map);
}

static void
test_misaligned_map_is_refused(void)
{
    struct image image = sample();
    char *shifted = malloc(image.size + 8);
    struct view v;

    for (int by = 1; by < 8; by++) {
        memcpy(shifted + by, image.map, image.size);
        CHECK_EQ(view_open(&v, shifted + by, image.size), -EBADMSG);
    }
    free(shifted);
    free(image.map);
}

/* The root's child @i, as it lies in the file. */
static uint32_t
child_of_root(struct image *image, const char *name)
{
    struct view v;

    if (view_open(&v, image->map, image->size))
        abort();
    return view_child(&v, 0, name, strlen(name));
}

static void
test_cycles_end_and_are_refused_by_merge(void)
{
    struct image image = sample();
    uint32_t usr = child_of_root(&image, "usr");
    struct view_node *nodes = nodes_of(&image);
    struct view v;

    nodes[usr].first_child = usr; /* its own child, under its own name */
    nodes[usr].n_children = 1;
    nodes[usr].parent = usr;
    CHECK_EQ(view_open(&v, image.map, image.size), 0);
    CHECK_EQ(view_child(&v, usr, "usr", 3), VIEW_NONE);
    CHECK_EQ(find_in(&v, "usr/usr"), -ENOENT);
    CHECK_EQ(find_in(&v, "usr/../../usr"),
             -ENOENT); /* `..` of itself is itself: odd, but it ends */
    CHECK_EQ(merge_of(&image), -EBADMSG);
    feed(&image);
    nodes[usr].parent = 0;
    CHECK_EQ(merge_of(&image), -EBADMSG);
    nodes[usr].first_child = 0;
    CHECK_EQ(merge_of(&image), -EBADMSG);
    nodes[usr].parent = header_of(&image)->n_nodes;
    CHECK_EQ(find_in(&v, "usr/.."), -EBADMSG);
    free(image.map);
}

static void
test_names_of_a_hostile_layer_are_refused_by_merge(void)
{
    static const char *const bad[] = {"..", "", ".", "a/b"};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct image image = sample();
        struct view_node *n = &nodes_of(&image)[child_of_root(&image, "opaque")];

        /* "opaque" is long enough to hold each of them */
        memcpy((char *)image.map + header_of(&image)->bytes + n->name, bad[i], strlen(bad[i]) + 1);
        n->name_len = (uint32_t)strlen(bad[i]);
        CHECK_EQ(merge_of(&image), -EBADMSG);
        feed(&image);
        free(image.map);
    }
}

static void
test_same_name_twice_is_refused_by_merge(void)
{
    struct image image = sample();
    struct view_node *nodes = nodes_of(&image);
    uint32_t first = nodes[0].first_child;

    nodes[first + 1].name = nodes[first].name;
    nodes[first + 1].name_len = nodes[first].name_len;
    CHECK_EQ(merge_of(&image), -EBADMSG);
    feed(&image);
    free(image.map);
}

static void
test_bad_name_and_target_read_as_zeros(void)
{
    struct image image = sample();
    struct view_node *n = &nodes_of(&image)[child_of_root(&image, "abs")];
    static const uint32_t lengths[] = {1, 5, 255, 256, 4095, 4096, UINT32_MAX};
    static const char zeros[LPMX_PATH_MAX];
    struct view v;

    CHECK_EQ(view_open(&v, image.map, image.size), 0);
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++)
        for (int far = 0; far < 2; far++) {
            n->name = n->link = far ? UINT32_MAX - 2 : (uint32_t)v.bytes_size - 1;
            n->name_len = n->link_len = lengths[i];
            CHECK(!memcmp(view_name(&v, n), zeros, LPMX_PATH_MAX));
            CHECK(!memcmp(view_link(&v, n), zeros, LPMX_PATH_MAX));
            CHECK_EQ(merge_of(&image), -EBADMSG);
            feed(&image);
        }
    free(image.map);
}

/* One to eight changes: a bit, a byte, or an aligned word set to something that a check might miss.
 */
static void
mutate(struct image *image, uint64_t *state)
{
    static const uint32_t words[] = {0,          1,          2,       0x7fffffff, 0x80000000,
                                     0xfffffffe, 0xffffffff, S_IFDIR, S_IFLNK};
    uint32_t changes = 1 + random_next(state) % 8;
    unsigned char *bytes = image->map;

    while (changes--) {
        uint32_t at = random_next(state) % (uint32_t)image->size;
        uint32_t word = words[random_next(state) % ARRAY_LEN(words)];

        switch (random_next(state) % 4) {
        case 0:
            bytes[at] ^= (unsigned char)(1 << random_next(state) % 8);
            break;
        case 1:
            bytes[at] = (unsigned char)random_next(state);
            break;
        case 2:
            word = random_next(state) % 24; /* an index or offset that may be in range */
            /* fall through */
        default:
            at &= ~3u;
            memcpy(bytes + at, &word, at + 4 <= image->size ? 4 : image->size - at);
        }
    }
}

static void
test_mutated_files_do_no_harm(void)
{
    const char *rounds = getenv("LPMX_FUZZ_ROUNDS");
    struct image whole = sample(), image = {malloc(whole.size), whole.size};
    uint64_t state = 2463534242u;

    for (long i = rounds ? atol(rounds) : 20000; i > 0; i--) {
        memcpy(image.map, whole.map, whole.size);
        mutate(&image, &state);
        if (i % 4) /* most of the time past the first checks */
            memcpy(image.map, whole.map, sizeof(struct view_header));
        feed(&image);
    }
    free(image.map);
    free(whole.map);
}

int
main(void)
{
    test_cut_file_is_refused();
    test_header_fields_are_checked();
    test_misaligned_map_is_refused();
    test_cycles_end_and_are_refused_by_merge();
    test_names_of_a_hostile_layer_are_refused_by_merge();
    test_same_name_twice_is_refused_by_merge();
    test_bad_name_and_target_read_as_zeros();
    test_mutated_files_do_no_harm();
    return check_done("test_view_hostile");
}
