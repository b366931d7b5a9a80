/* Any bytes as the head of a script: the parts lie in the buffer, hold no blank at their ends, and
 * are what a second, slower reading of the line finds. */
#include "calls/exec/hashbang.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static void
must(bool ok)
{
    if (!ok)
        abort();
}

/* The interpreter of the line @text of @n bytes as binfmt_script's comments describe it: its start
 * and length, 0 when there is none. @whole: the line ended within the buffer. */
static size_t
interpreter(const char *text, size_t n, bool whole, size_t *start)
{
    size_t end;

    *start = 2;
    while (*start < n && is_blank(text[*start]))
        ++*start;
    for (end = *start; end < n && !is_blank(text[end]);)
        end++;
    return end == n && !whole ? 0 : end - *start;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *head = calloc(1, HASHBANG_SIZE + 1), copy[HASHBANG_SIZE + 1] = "#!", *interp, *arg;
    size_t n, start, len;
    bool whole;

    memcpy(copy + 2, data, size < HASHBANG_SIZE - 2 ? size : HASHBANG_SIZE - 2);
    memcpy(head, copy, sizeof(copy));
    n = strcspn(copy, "\n");
    whole = n < HASHBANG_SIZE;
    n -= !whole; /* the last byte is the kernel's, for a NUL */
    len = interpreter(copy, n, whole, &start);
    if (hashbang_parse(head, &interp, &arg)) {
        must(!len);
    } else {
        must(interp == head + start && strlen(interp) == len);
        must(!memcmp(interp, copy + start, len));
        must(!arg || (arg > interp && arg < head + HASHBANG_SIZE && *arg && !is_blank(*arg)));
        must(!arg ||
             (!is_blank(arg[strlen(arg) - 1]) && !memcmp(arg, copy + (arg - head), strlen(arg))));
    }
    free(head);
    return 0;
}
