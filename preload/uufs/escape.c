/* Names for which the upper has others. What begins with `.wh.` is a whiteout to whoever reads a
 * layer, so a program's `.wh.NAME` is `.wh+NAME` on the disk; a program's `.wh+NAME` and `.wh=NAME`
 * are `.wh=+NAME` and `.wh==NAME` there. So every name has one, no two the same, and only the last
 * two kinds are longer (by a byte: 254 of them are left). Layers have names as they are: none can
 * hold a `.wh.NAME`. */
#include "escape.h"

#include "../base/libc.h"
#include "../base/str.h"

#define STEM     ".wh"
#define STEM_LEN 3

bool
escape_needs(const char *name, size_t len)
{
    return len > STEM_LEN && name[0] == '.' && !memcmp(name, STEM, STEM_LEN) &&
           (name[STEM_LEN] == '.' || name[STEM_LEN] == '+' || name[STEM_LEN] == '=');
}

bool
escape_needs_any(const char *path, size_t len)
{
    for (size_t at = 0, end; at < len; at = end + 1) {
        for (end = at; end < len && path[end] != '/'; end++)
            ;
        if (escape_needs(path + at, end - at))
            return true;
    }
    return false;
}

int
escape_append(char *dst, size_t cap, size_t *len, const char *path, size_t path_len)
{
    int err = 0;

    for (size_t at = 0, end; at < path_len && !err; at = end) {
        for (end = at + 1; end < path_len && path[end - 1] != '/'; end++)
            ;
        if (!escape_needs(path + at, end - at)) {
            err = str_append(dst, cap, len, path + at, end - at);
            continue;
        }
        err = path[at + STEM_LEN] == '.' ? str_append(dst, cap, len, STEM "+", STEM_LEN + 1)
                                         : str_append(dst, cap, len, STEM "=", STEM_LEN + 1);
        at += path[at + STEM_LEN] == '.' ? STEM_LEN + 1 : STEM_LEN;
        if (!err)
            err = str_append(dst, cap, len, path + at, end - at);
    }
    return err;
}

size_t
escape_undo(char *name, size_t len)
{
    char kind = len > STEM_LEN && !memcmp(name, STEM, STEM_LEN) ? name[STEM_LEN] : '\0';

    if (kind == '+')
        name[STEM_LEN] = '.';
    if (kind != '=' || len == STEM_LEN + 1)
        return len;
    memmove(name + STEM_LEN, name + STEM_LEN + 1, len - STEM_LEN); /* with the NUL */
    return len - 1;
}

void
escape_undo_all(char *path)
{
    char *out = path;

    for (char *p = path; *p;) {
        char *end = p;
        char after;
        size_t len;

        while (*end && *end != '/')
            end++;
        after = *end;
        *end = '\0';
        len = escape_undo(p, (size_t)(end - p));
        memmove(out, p, len);
        out += len;
        *out = after;
        if (!after)
            return;
        out++;
        p = end + 1;
    }
    *out = '\0';
}
