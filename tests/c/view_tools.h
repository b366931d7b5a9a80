/* What the tests of views share: a file in memory, a view made of a builder, one-line entries,
 * random numbers. */
#ifndef LPMX_TESTS_VIEW_TOOLS_H
#define LPMX_TESTS_VIEW_TOOLS_H

#include "hosted/view_build.h"
#include "hosted/view_extract.h"
#include "hosted/view_find.h"
#include "hosted/view_merge.h"
#include "hosted/view_write.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct image { /* the bytes of a view file, exactly as long as it is: the sanitizer sees a read past
                  the end */
    void *map;
    uint64_t size;
};

static const uint8_t some_id[32] = "0123456789abcdef0123456789abcde";

static inline struct vb_entry
entry_of(uint32_t mode, uint32_t flags)
{
    return (struct vb_entry){.mode = mode, .tar_mode = mode, .nlink = 1, .flags = flags};
}

static inline int
add(struct vb *vb, const char *path, uint32_t mode, uint32_t flags)
{
    struct vb_entry e = entry_of(mode, flags);

    return vb_add(vb, path, strlen(path), &e);
}

static inline int
add_link(struct vb *vb, const char *path, const char *target)
{
    struct vb_entry e = entry_of(S_IFLNK | 0777, 0);

    e.link = target;
    e.link_len = (uint32_t)strlen(target);
    return vb_add(vb, path, strlen(path), &e);
}

static inline struct vb *
layer_start(uint8_t number)
{
    struct vb *vb = vb_new();
    uint8_t id[32] = {number};

    if (!vb || vb_layer(vb, id, number))
        abort();
    return vb;
}

/* Write @vb and read the bytes back; frees nothing. */
static inline int
image_of(struct vb *vb, struct image *out)
{
    int fd = memfd_create("view", 0);
    int err = vb_write(vb, fd, some_id);

    *out = (struct image){0};
    if (!err) {
        out->size = (uint64_t)lseek(fd, 0, SEEK_END);
        out->map = malloc(out->size);
        if (!out->map || pread(fd, out->map, out->size, 0) != (ssize_t)out->size)
            abort();
    }
    close(fd);
    return err;
}

/* image_of, and the builder is done with. */
static inline struct image
image_take(struct vb *vb)
{
    struct image image;

    if (image_of(vb, &image))
        abort();
    vb_free(vb);
    return image;
}

static inline int64_t
find_in(const struct view *view, const char *path)
{
    return view_find(view, path, strlen(path), 0);
}

/* xorshift: the same numbers everywhere. */
static inline uint32_t
random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 16);
}

#endif
