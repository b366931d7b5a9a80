/* The first line of a script. What becomes of it is exec.c's business. */
#include "hashbang.h"

#include "../../base/sys.h"

int
hashbang_parse(char *head, char **interp, char **arg)
{
    char *s = head + 2, *end = head + 2;
    bool whole;

    while (*end && *end != '\n')
        end++;
    whole = *end;
    if (!*end && end == head + HASHBANG_SIZE) {
        /* a line longer than the buffer is only acceptable when the interpreter itself fits */
        char *q = s;

        end--; /* the kernel wants the last byte for its own NUL */
        while (*q == ' ' || *q == '\t')
            q++;
        while (q < end && *q != ' ' && *q != '\t')
            q++;
        if (q == end)
            return -ENOEXEC;
    }
    *end = '\0';
    while (end > s && (end[-1] == ' ' || end[-1] == '\t'))
        *--end = '\0';
    while (*s == ' ' || *s == '\t')
        s++;
    if (!*s) /* a line that the file's end cut off names "": the working directory, no program */
        return whole ? -ENOEXEC : -EACCES;
    *interp = s;
    while (*s && *s != ' ' && *s != '\t')
        s++;
    if (*s)
        *s++ = '\0';
    while (*s == ' ' || *s == '\t')
        s++;
    *arg = *s ? s : NULL;
    return 0;
}
