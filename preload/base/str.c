/* The two bounded string helpers of both builds: see str.h. */
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
