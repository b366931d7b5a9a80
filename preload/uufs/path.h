/* A path looked at component by component. */
#ifndef LPMX_PATH_H
#define LPMX_PATH_H

#include "../base/libc.h"

/* The end of the component that @p begins. */
static inline const char *
path_skip(const char *p)
{
    while (*p && *p != '/')
        p++;
    return p;
}

/* Is the first component of @p @name? */
static inline bool
path_begins_with(const char *p, const char *name)
{
    size_t n = strlen(name);

    return !strncmp(p, name, n) && (p[n] == '\0' || p[n] == '/');
}

/* Bytes of @path before its last slash: the length of its parent, 0 for the root's. */
size_t path_parent(const char *path, size_t len);
/* Is @path of @len bytes strictly below the directory @dir? */
bool path_below(const char *path, size_t len, const char *dir, size_t dir_len);

#endif
