/* Merging layer views: the rules one by one, then random chains of layers against a simple model of
 * the OCI image specification's layer application. */
#include "check.h"
#include "view_tools.h"

static void
merge_layer(struct vb *into, struct vb *layer)
{
    struct image image = image_take(layer);

    CHECK_EQ(vb_merge(into, image.map, image.size), 0);
    free(image.map);
}

static uint32_t
layer_of(const struct view *v, const char *path)
{
    int64_t i = find_in(v, path);

    return i < 0 ? VIEW_NONE : v->nodes[i].layer;
}

static void
test_upper_replaces_merges_and_removes(void)
{
    struct vb *merged = vb_new(), *low = layer_start(10), *high = layer_start(20);
    struct view v;

    add(low, "", S_IFDIR | 0700, 0);
    add(low, "both", S_IFDIR | 0700, 0);
    add(low, "both/low", S_IFREG | 0644, 0);
    add(low, "both/same", S_IFREG | 0644, 0);
    add(low, "file", S_IFREG | 0644, 0);
    add(low, "dir/below", S_IFREG | 0644, 0);
    add(low, "gone/deep/er", S_IFREG | 0644, 0);
    add(low, "emptied/x/y", S_IFREG | 0644, 0);
    add(low, "explicit", S_IFDIR | 01777, 0);
    add_link(low, "link", "dir");
    add(high, "both", S_IFDIR | 0750, 0);
    add(high, "both/same", S_IFREG | 0600, 0);
    add(high, "file/now/a/tree", S_IFREG | 0644, 0);
    add(high, "dir", S_IFREG | 0644, 0);
    add(high, "gone", 0, VIEW_WHITEOUT);
    add(high, "never/was", 0, VIEW_WHITEOUT);
    add(high, "emptied", S_IFDIR | 0711, VIEW_OPAQUE);
    add(high, "emptied/own", S_IFREG | 0644, 0);
    add(high, "explicit/new", S_IFREG | 0644, 0);
    add(high, "link/in", S_IFREG | 0644, 0);
    merge_layer(merged, low);
    merge_layer(merged, high);
    struct image image = image_take(merged);

    CHECK_EQ(view_open(&v, image.map, image.size), 0);
    CHECK_EQ(v.n_layers, 2);
    CHECK_EQ(v.layers[0].diff_id[0], 10);
    CHECK_EQ(v.layers[1].root_ino, 20);
    CHECK_EQ(v.nodes[0].mode, S_IFDIR | 0700);
    CHECK_EQ(v.nodes[0].layer, 0);
    CHECK_EQ(v.nodes[find_in(&v, "both")].mode, S_IFDIR | 0750);
    CHECK_EQ(layer_of(&v, "both"), 1);
    CHECK_EQ(layer_of(&v, "both/low"), 0);
    CHECK_EQ(layer_of(&v, "both/same"), 1);
    CHECK_EQ(layer_of(&v, "file/now/a/tree"), 1);
    CHECK_EQ(find_in(&v, "dir/below"), -ENOTDIR);
    CHECK_EQ(find_in(&v, "gone"), -ENOENT);
    CHECK_EQ(find_in(&v, "never/was"), -ENOENT);
    CHECK(find_in(&v, "never") > 0); /* the whiteout's own parent is a directory of the layer */
    CHECK_EQ(find_in(&v, "emptied/x"), -ENOENT);
    CHECK_EQ(layer_of(&v, "emptied/own"), 1);
    CHECK_EQ(v.nodes[find_in(&v, "emptied")].flags, 0);
    CHECK_EQ(v.nodes[find_in(&v, "explicit")].mode, S_IFDIR | 01777);
    CHECK_EQ(layer_of(&v, "explicit"), 0);
    CHECK_EQ(layer_of(&v, "explicit/new"), 1);
    CHECK(S_ISDIR(v.nodes[find_in(&v, "link")].mode)); /* never through a link of a lower layer */
    for (uint32_t i = 0; i < v.n_nodes; i++)
        CHECK(!(v.nodes[i].flags & (VIEW_WHITEOUT | VIEW_OPAQUE)));
    free(image.map);
}

/* `.wh.d` and `d/` in one archive, in both orders: what is below goes, what the layer brings stays.
 */
static void
test_whiteout_spares_its_own_layer(void)
{
    for (int order = 0; order < 4; order++) {
        struct vb *merged = vb_new(), *low = layer_start(1), *high = layer_start(2);
        struct view v;

        add(low, "d/old", S_IFREG | 0644, 0);
        add(low, "f", S_IFREG | 0600, 0);
        if (order & 1) {
            add(high, "d", 0, VIEW_WHITEOUT);
            add(high, "f", 0, VIEW_WHITEOUT);
        }
        if (order & 2)
            add(high, "d", S_IFDIR | 0711, 0);
        add(high, "d/new", S_IFREG | 0644, 0);
        add(high, "f", S_IFREG | 0644, 0);
        if (!(order & 1)) {
            add(high, "d", 0, VIEW_WHITEOUT);
            add(high, "f", 0, VIEW_WHITEOUT);
        }
        merge_layer(merged, low);
        merge_layer(merged, high);
        struct image image = image_take(merged);

        CHECK_EQ(view_open(&v, image.map, image.size), 0);
        CHECK_EQ(find_in(&v, "d/old"), -ENOENT);
        CHECK_EQ(layer_of(&v, "d/new"), 1);
        CHECK_EQ(v.nodes[find_in(&v, "d")].mode, S_IFDIR | (order & 2 ? 0711 : 0755));
        CHECK_EQ(v.nodes[find_in(&v, "f")].mode, S_IFREG | 0644);
        free(image.map);
    }
}

static void
test_opaque_mark_stays_in_its_layer_view(void)
{
    struct vb *layer = layer_start(1);
    struct view v;

    add(layer, "d", S_IFDIR | 0755, VIEW_OPAQUE);
    add(layer, "d", S_IFDIR | 0700, 0); /* the archive's entry after its `.wh..wh..opq` */
    add(layer, "w", 0, VIEW_WHITEOUT);
    struct image image = image_take(layer);

    CHECK_EQ(view_open(&v, image.map, image.size), 0);
    CHECK_EQ(v.nodes[find_in(&v, "d")].flags, VIEW_OPAQUE);
    CHECK_EQ(v.nodes[find_in(&v, "d")].mode, S_IFDIR | 0700);
    CHECK_EQ(v.nodes[find_in(&v, "w")].flags, VIEW_WHITEOUT);
    free(image.map);
}

static void
test_opaque_root_hides_all_below(void)
{
    struct vb *merged = vb_new(), *low = layer_start(1), *high = layer_start(2);
    struct view v;

    add(low, "a/b", S_IFREG | 0644, 0);
    add(high, "", S_IFDIR | 0711, VIEW_OPAQUE);
    add(high, "c", S_IFREG | 0644, 0);
    merge_layer(merged, low);
    merge_layer(merged, high);
    struct image image = image_take(merged);

    CHECK_EQ(view_open(&v, image.map, image.size), 0);
    CHECK_EQ(v.n_nodes, 2);
    CHECK_EQ(v.nodes[0].mode, S_IFDIR | 0711);
    free(image.map);
}

static void
test_merge_takes_views_of_one_layer_only(void)
{
    struct vb *merged = vb_new(), *two = layer_start(1);
    struct image image;

    CHECK_EQ(vb_layer(two, some_id, 2), 0);
    image = image_take(two);
    CHECK_EQ(vb_merge(merged, image.map, image.size), -EBADMSG);
    CHECK_EQ(vb_merge(merged, "LPMXVIEW", 8), -EBADMSG);
    CHECK_EQ(vb_merge(merged, "", 0), -EBADMSG);
    free(image.map);
    image = image_take(vb_new());
    CHECK_EQ(vb_merge(merged, image.map, image.size), -EBADMSG);
    free(image.map);
    vb_free(merged);
}

/* ---- random layers ---- */

enum { MAX_NAMES = 4096, MAX_PATH = 32 };

struct name {
    char path[MAX_PATH];
    uint32_t mode, flags, layer, uid;
};

struct model {
    struct name names[MAX_NAMES];
    uint32_t n;
};

static bool
is_below(const char *path, const char *dir)
{
    size_t n = strlen(dir);

    return !n ? *path != '\0' : !strncmp(path, dir, n) && path[n] == '/';
}

static struct name *
model_find(struct model *m, const char *path)
{
    for (uint32_t i = 0; i < m->n; i++)
        if (!strcmp(m->names[i].path, path))
            return &m->names[i];
    return NULL;
}

static void
model_remove(struct model *m, const char *path, bool itself)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < m->n; i++)
        if (!is_below(m->names[i].path, path) && !(itself && !strcmp(m->names[i].path, path)))
            m->names[kept++] = m->names[i];
    m->n = kept;
}

static void
model_put(struct model *m, const struct name *name)
{
    struct name *old = model_find(m, name->path);

    if (old && S_ISDIR(old->mode) && S_ISDIR(name->mode)) {
        if (!(name->flags & VIEW_IMPLICIT))
            *old = *name;
        return;
    }
    model_remove(m, name->path, true);
    m->names[m->n++] = *name;
}

/* The specification, read plainly: first what the layer removes, then what it brings, parents
 * before children. */
static void
model_apply(struct model *m, const struct model *layer)
{
    for (uint32_t i = 0; i < layer->n; i++)
        if (layer->names[i].flags & (VIEW_WHITEOUT | VIEW_OPAQUE))
            model_remove(m, layer->names[i].path, layer->names[i].flags & VIEW_WHITEOUT);
    for (size_t len = 0; len < MAX_PATH; len++)
        for (uint32_t i = 0; i < layer->n; i++) {
            struct name name = layer->names[i];

            if (strlen(name.path) != len || name.flags & VIEW_WHITEOUT)
                continue;
            name.flags &= VIEW_IMPLICIT;
            model_put(m, &name);
        }
}

static void
random_path(uint64_t *state, char *path)
{
    static const char *const words[] = {"a", "b", "cc", "\xff"};
    uint32_t depth = 1 + random_next(state) % 4;

    path[0] = '\0';
    for (uint32_t i = 0; i < depth; i++)
        snprintf(path + strlen(path), MAX_PATH - strlen(path), "%s%s", i ? "/" : "",
                 words[random_next(state) % ARRAY_LEN(words)]);
}

/* Does @name fit the layer: new, under nothing that is no directory, and a directory itself if
 * names are below it? */
static bool
fits(const struct model *layer, const struct name *name)
{
    for (uint32_t i = 0; i < layer->n; i++) {
        const struct name *other = &layer->names[i];

        if (!strcmp(other->path, name->path) ||
            (is_below(name->path, other->path) && !S_ISDIR(other->mode)) ||
            (is_below(other->path, name->path) && !S_ISDIR(name->mode)))
            return false;
    }
    return true;
}

static void
random_layer(uint64_t *state, struct model *layer, uint32_t number)
{
    uint32_t count = random_next(state) % 16;

    layer->n = 0;
    for (uint32_t i = 0; i < count; i++) {
        static const uint32_t modes[] = {S_IFREG, S_IFREG, S_IFLNK, S_IFDIR, S_IFDIR, 0};
        struct name name = {.layer = number, .uid = number * 100 + i};

        random_path(state, name.path);
        name.mode = modes[random_next(state) % ARRAY_LEN(modes)];
        if (!name.mode)
            name.flags = VIEW_WHITEOUT;
        else
            name.mode |= random_next(state) & 0777;
        if (S_ISDIR(name.mode) && random_next(state) % 4 == 0)
            name.flags = VIEW_OPAQUE;
        if (fits(layer, &name))
            layer->names[layer->n++] = name;
    }
}

static struct vb *
layer_build(const struct model *layer, uint32_t number)
{
    struct vb *vb = layer_start((uint8_t)number);

    for (uint32_t i = 0; i < layer->n; i++) {
        const struct name *name = &layer->names[i];
        struct vb_entry e = entry_of(name->mode, name->flags);

        e.uid = name->uid;
        e.link = "t";
        e.link_len = 1;
        CHECK_EQ(vb_add(vb, name->path, strlen(name->path), &e), 0);
    }
    return vb;
}

/* What vb_add makes by itself: the root and the parents without an entry. */
static void
add_parents(struct model *layer, uint32_t number)
{
    struct name dir = {.mode = S_IFDIR | 0755, .flags = VIEW_IMPLICIT, .layer = number};

    if (!model_find(layer, ""))
        layer->names[layer->n++] = dir;
    for (uint32_t i = 0; i < layer->n; i++) {
        const char *slash = strrchr(layer->names[i].path, '/');

        if (!slash)
            continue;
        snprintf(dir.path, sizeof(dir.path), "%.*s", (int)(slash - layer->names[i].path),
                 layer->names[i].path);
        if (!model_find(layer, dir.path))
            layer->names[layer->n++] = dir;
    }
}

static bool
same(struct model *m, const struct view *v)
{
    if (v->n_nodes != m->n)
        return false;
    for (uint32_t i = 0; i < m->n; i++) {
        const struct name *want = &m->names[i];
        int64_t at = find_in(v, want->path);

        if (at < 0)
            return false;
        const struct view_node *got = &v->nodes[at];

        if (got->mode != want->mode || got->layer != want->layer || got->uid != want->uid ||
            got->flags != want->flags || got->link_len != (S_ISLNK(want->mode) ? 1u : 0u))
            return false;
    }
    return true;
}

static void
test_random_layers_merge_as_the_model(void)
{
    static struct model m, layer;
    uint64_t state = 88172645463325252ull;
    unsigned long nodes = 0;

    for (int round = 0; round < 3000; round++) {
        struct vb *merged = vb_new();
        uint32_t layers = 1 + random_next(&state) % 6;
        struct view v;

        m.n = 0;
        for (uint32_t k = 0; k < layers; k++) {
            random_layer(&state, &layer, k);
            merge_layer(merged, layer_build(&layer, k));
            add_parents(&layer, k);
            model_apply(&m, &layer);
        }
        struct image image = image_take(merged);

        CHECK_EQ(view_open(&v, image.map, image.size), 0);
        CHECK(same(&m, &v));
        nodes += v.n_nodes;
        free(image.map);
    }
    CHECK(nodes > 3000 * 5); /* the chains were not all empty */
}

static void
test_large_layers_merge(void)
{
    struct vb *merged = vb_new();
    struct view v;
    char path[64];

    for (uint8_t k = 0; k < 3; k++) {
        struct vb *layer = layer_start(k);

        for (int i = 0; i < 30000; i++) {
            snprintf(path, sizeof(path), "usr/%d/%d", i % 100, i + k * 10000);
            CHECK_EQ(add(layer, path, S_IFREG | 0644, 0), 0);
        }
        if (k == 2)
            CHECK_EQ(add(layer, "usr/7", 0, VIEW_WHITEOUT), 0); /* beside its own: opaque */
        merge_layer(merged, layer);
    }
    struct image image = image_take(merged);

    CHECK_EQ(view_open(&v, image.map, image.size), 0);
    CHECK_EQ(v.n_nodes, 2 + 100 + 50000 - 200);
    CHECK_EQ(layer_of(&v, "usr/8/8"), 0);
    CHECK_EQ(layer_of(&v, "usr/8/10008"), 1);
    CHECK_EQ(layer_of(&v, "usr/8/49908"), 2);
    CHECK_EQ(find_in(&v, "usr/7/10007"), -ENOENT);
    CHECK_EQ(layer_of(&v, "usr/7/20007"), 2);
    free(image.map);
}

int
main(void)
{
    test_upper_replaces_merges_and_removes();
    test_whiteout_spares_its_own_layer();
    test_opaque_mark_stays_in_its_layer_view();
    test_opaque_root_hides_all_below();
    test_merge_takes_views_of_one_layer_only();
    test_random_layers_merge_as_the_model();
    test_large_layers_merge();
    return check_done("test_view_merge");
}
