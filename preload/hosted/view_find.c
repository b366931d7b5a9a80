/* A whole path in a view, for tools that ask what an image holds. Not the engine's walk: that one
 * also knows the upper directory and the binds (walk.c). */
#include "view_find.h"

#include "../base/libc.h"

#include <string.h>
#include <sys/stat.h>

#define MAX_LINKS 40 /* as the kernel's MAXSYMLINKS */

struct search {
    const struct view *view;
    uint32_t at; /* the node that the path so far leads to */
    unsigned links;
    bool follow;
    char *rest; /* what is left of the path, at the end of buf */
    char buf[2 * LPMX_PATH_MAX];
};

static char *
buf_end(struct search *s)
{
    return s->buf + sizeof(s->buf);
}

/* Put @path in front of what is left. */
static int
push(struct search *s, const char *path, size_t len)
{
    if (len > (size_t)(s->rest - s->buf))
        return -ENAMETOOLONG;
    s->rest -= len;
    memcpy(s->rest, path, len);
    return 0;
}

static int
follow_link(struct search *s, const struct view_node *link)
{
    const char *target = view_link(s->view, link);

    if (++s->links > MAX_LINKS)
        return -ELOOP;
    if (!*target)
        return -ENOENT;
    if (*target == '/')
        s->at = 0;
    return push(s, target, strlen(target));
}

/* Take the component of @len bytes at @name, the last of the path if @last. */
static int
step(struct search *s, const char *name, size_t len, bool last)
{
    const struct view_node *dir = view_node(s->view, s->at);
    uint32_t child;

    if (!S_ISDIR(dir->mode))
        return -ENOTDIR;
    if (len == 1 && name[0] == '.')
        return 0;
    if (len == 2 && name[0] == '.' && name[1] == '.') {
        s->at = dir->parent;
        return view_node(s->view, s->at) ? 0 : -EBADMSG;
    }
    if (len > LPMX_NAME_MAX)
        return -ENAMETOOLONG;
    child = view_child(s->view, s->at, name, len);
    if (child == VIEW_NONE)
        return -ENOENT;
    if (S_ISLNK(s->view->nodes[child].mode) && (s->follow || !last))
        return follow_link(s, &s->view->nodes[child]);
    s->at = child;
    return 0;
}

int64_t
view_find(const struct view *view, const char *path, size_t len, int follow)
{
    struct search s = {.view = view, .follow = follow != 0};
    bool slash = false;
    int err;

    if (len >= LPMX_PATH_MAX)
        return -ENAMETOOLONG;
    if (len && memchr(path, '\0', len))
        return -EINVAL;
    s.rest = buf_end(&s) - 1; /* the NUL */
    err = push(&s, path, len);
    while (!err && *(s.rest += strspn(s.rest, "/"))) {
        const char *name = s.rest;
        size_t n = strcspn(name, "/");

        s.rest += n;
        slash = *s.rest == '/';
        err = step(&s, name, n, !slash);
    }
    if (err)
        return err;
    return slash && !S_ISDIR(view->nodes[s.at].mode) ? -ENOTDIR : (int64_t)s.at;
}
