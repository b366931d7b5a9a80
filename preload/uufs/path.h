/* A path looked at component by component. */
#ifndef LPMX_PATH_H
#define LPMX_PATH_H

#include "../sys.h"

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

#endif
