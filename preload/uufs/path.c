/* Paths as text: their parents, and what is below what. */
#include "path.h"

size_t
path_parent(const char *path, size_t len)
{
    while (len && path[len - 1] != '/')
        len--;
    return len ? len - 1 : 0;
}

bool
path_below(const char *path, size_t len, const char *dir, size_t dir_len)
{
    if (dir_len == 1)
        return len > 1;
    return len > dir_len && path[dir_len] == '/' && !memcmp(path, dir, dir_len);
}
