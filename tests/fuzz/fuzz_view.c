/* Any bytes as a view: nothing may crash, hang or read outside. test_view_hostile.c runs it on
 * mutated files, test_fuzz.py under libFuzzer. */
#include "../c/view_tools.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Read what a caller with a checked buffer reads. */
static uint64_t
read_node(const struct view *v, const struct view_node *n)
{
    char buf[LPMX_PATH_MAX];
    uint64_t sum = strlen(view_name(v, n)) + strlen(view_link(v, n));

    if (n->name_len <= LPMX_NAME_MAX) {
        memcpy(buf, view_name(v, n), n->name_len);
        sum += n->name_len ? (uint64_t)buf[n->name_len - 1] : 0;
    }
    if (n->link_len < LPMX_PATH_MAX) {
        memcpy(buf, view_link(v, n), n->link_len);
        sum += n->link_len ? (uint64_t)buf[n->link_len - 1] : 0;
    }
    return sum;
}

static uint64_t
read_view(const struct view *v)
{
    static const char *const paths[] = {"usr/bin/sh",   "bin/sh",  "loop/x",
                                        "../..//abs/y", "d/d/d/d", "\xff/a/"};
    uint64_t sum = 0;

    for (uint32_t i = 0; i < v->n_nodes; i++) {
        const struct view_node *n = view_node(v, i);

        sum += read_node(v, n);
        if (view_node(v, n->parent) && n->name_len <= LPMX_NAME_MAX)
            sum += view_child(v, n->parent, view_name(v, n), n->name_len);
    }
    for (uint32_t i = 0; i < v->n_layers; i++)
        sum += v->layers[i].root_ino;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        for (int follow = 0; follow < 2; follow++)
            sum += (uint64_t)view_find(v, paths[i], strlen(paths[i]), follow);
    return sum;
}

/* Merged twice, the second time over itself; what is written must be a view again. */
static void
merge_and_write(const void *map, uint64_t size)
{
    struct vb *vb = vb_new();
    struct image image;
    struct view v;

    if (!vb)
        return;
    if (!vb_merge(vb, map, size) && !vb_merge(vb, map, size)) {
        if (image_of(vb, &image) || view_open(&v, image.map, image.size))
            abort();
        for (uint32_t i = 0; i < v.n_nodes; i++)
            if (v.nodes[i].flags & ~(uint32_t)VIEW_IMPLICIT || v.nodes[i].layer >= v.n_layers)
                abort();
        free(image.map);
    }
    vb_free(vb);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    void *copy = malloc(size ? size : 1); /* aligned, and no longer than the file */
    volatile uint64_t used = 0;
    struct view v;

    if (!copy)
        return 0;
    memcpy(copy, data, size);
    if (!view_open(&v, copy, size))
        used += read_view(&v);
    merge_and_write(copy, size);
    free(copy);
    return 0;
}
