/* The environment of a start without Python: that of the plan or of a file, and what the caller's
 * adds to it. The lists of names are written by runtime/lpmx_runtime/plans/variables.py. */
#include "startenv.h"

#include "../base/libc.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

static size_t
name_length(const char *entry)
{
    size_t n = 0;

    while (entry[n] && entry[n] != '=')
        n++;
    return n;
}

int
startenv_names(const char *names, const char *entry)
{
    size_t length = name_length(entry);

    while (names && *names) {
        size_t n = 0;
        bool prefix;

        while (names[n] && names[n] != ':')
            n++;
        prefix = n && names[n - 1] == '*';
        if (prefix ? length >= n - 1 && !strncmp(entry, names, n - 1)
                   : n && length == n && !strncmp(entry, names, n))
            return 1;
        names += n + (names[n] == ':');
    }
    return 0;
}

/* The place of the variable of @entry in @list of @n, or @n. */
static size_t
find(char **list, size_t n, const char *entry)
{
    size_t length = name_length(entry);

    for (size_t i = 0; i < n; i++)
        if (name_length(list[i]) == length && !strncmp(list[i], entry, length))
            return i;
    return n;
}

int
startenv_merge(const struct startenv *want, char **base, char **envp, char **out, size_t cap)
{
    size_t n = 0;

    for (; *base; base++) {
        if (n + 1 >= cap)
            return -E2BIG;
        out[n++] = *base;
    }
    for (; *envp; envp++) {
        bool wins = startenv_names(want->take, *envp);
        size_t at;

        if (!wins && !startenv_names(want->pass, *envp) && !startenv_names("TERM", *envp))
            continue;
        at = find(out, n, *envp);
        if (at < n && !wins)
            continue;
        if (at == n && n + 1 >= cap)
            return -E2BIG;
        n += at == n;
        out[at] = *envp;
    }
    out[n] = NULL;
    return 0;
}

/* Split the @size bytes at @text into entries. */
static int
split(char *text, size_t size, char **out, size_t cap)
{
    size_t n = 0;

    if (size && text[size - 1])
        return -EBADMSG;
    for (size_t at = 0; at < size; at += strlen(text + at) + 1) {
        if (!text[at] || text[at] == '=' || !text[at + name_length(text + at)])
            return -EBADMSG;
        if (n + 1 >= cap)
            return -E2BIG;
        out[n++] = text + at;
    }
    out[n] = NULL;
    return 0;
}

int
startenv_read(const char *path, char **out, size_t cap)
{
    struct stat st;
    long r, fd = sys4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);

    if (fd < 0)
        return (int)fd;
    r = sys2(SYS_fstat, fd, &st);
    if (r == 0 && st.st_size > 0)
        r = sys6(SYS_mmap, 0, st.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    sys1(SYS_close, fd);
    if (sys_failed(r))
        return (int)r;
    return split((char *)r, st.st_size > 0 ? (size_t)st.st_size : 0, out, cap);
}
