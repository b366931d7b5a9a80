/* The few memory and string functions of the freestanding build. The hosted build takes libc's and only needs ours. */
#include "sys.h"

#ifndef LPMX_HOSTED

void *
memcpy(void *restrict dst, const void *restrict src, size_t n)
{
    void *ret = dst;

    __asm__ volatile("rep movsb" : "+D"(dst), "+S"(src), "+c"(n) : : "memory");
    return ret;
}

void *
memmove(void *dst, const void *src, size_t n)
{
    char *d = dst;
    const char *s = src;

    if (d <= s || d >= s + n)
        return memcpy(dst, src, n);
    while (n--)
        d[n] = s[n];
    return dst;
}

void *
memset(void *dst, int c, size_t n)
{
    void *ret = dst;

    __asm__ volatile("rep stosb" : "+D"(dst), "+c"(n) : "a"(c) : "memory");
    return ret;
}

int
memcmp(const void *a, const void *b, size_t n)
{
    const unsigned char *p = a, *q = b;

    for (; n; n--, p++, q++)
        if (*p != *q)
            return *p - *q;
    return 0;
}

size_t
strlen(const char *s)
{
    size_t n = 0;

    while (s[n])
        n++;
    return n;
}

int
strcmp(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return (unsigned char)*a - (unsigned char)*b;
}

int
strncmp(const char *a, const char *b, size_t n)
{
    for (; n && *a && *a == *b; n--)
        a++, b++;
    return n ? (unsigned char)*a - (unsigned char)*b : 0;
}

#endif

int
str_append(char *dst, size_t cap, size_t *len, const char *src, size_t src_len)
{
    if (*len >= cap || src_len >= cap - *len)
        return -ENAMETOOLONG;
    memmove(dst + *len, src, src_len);
    *len += src_len;
    dst[*len] = '\0';
    return 0;
}

size_t
str_decimal(char *dst, uint64_t value)
{
    char digits[20];
    size_t n = 0, len;

    do
        digits[n++] = (char)('0' + value % 10);
    while (value /= 10);
    len = n;
    for (size_t i = 0; i < len; i++)
        dst[i] = digits[--n];
    dst[len] = '\0';
    return len;
}
