/* Bounded string helpers of both builds: see str.h. */
#include "str.h"

#include "libc.h"

HOT_FILE;

int
str_append(char *dst, size_t cap, size_t *len, const char *src, size_t src_len)
{
    if (*len >= cap || src_len >= cap - *len)
        return -ENAMETOOLONG;
    memcpy(dst + *len, src, src_len);
    *len += src_len;
    dst[*len] = '\0';
    return 0;
}

size_t
str_decimal(char *dst, uint64_t value)
{
    char digits[20];
    size_t n = 0, i;

    do
        digits[n++] = (char)('0' + value % 10);
    while (value /= 10);
    for (i = 0; i < n; i++)
        dst[i] = digits[n - 1 - i];
    dst[n] = '\0';
    return n;
}

COLD size_t
str_number(char *dst, uint64_t value, unsigned base)
{
    char digits[24];
    size_t n = 0;

    do {
        digits[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    for (size_t i = 0; i < n; i++)
        dst[i] = digits[n - 1 - i];
    return n;
}

COLD bool
str_take_number(const char **p, unsigned base, uint32_t *value)
{
    uint64_t n = 0;
    const char *start = *p;

    while (**p >= '0' && **p < (char)('0' + base) && n <= UINT32_MAX)
        n = n * base + (uint64_t)(*(*p)++ - '0');
    if (*p == start || n > UINT32_MAX || (**p && **p != ' '))
        return false;
    if (**p == ' ')
        (*p)++;
    *value = (uint32_t)n;
    return true;
}
