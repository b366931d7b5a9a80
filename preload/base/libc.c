/* The memory and string functions of the freestanding build.
 *
 * The compiler emits calls to memcpy and others like it on its own, so they exist under these
 * names; the hosted library and the C tests take them from libc. No vector registers: this runs in
 * a signal handler at any point of any program. Small sizes by overlapping words, the rest by the
 * string instructions. */
#include "libc.h"

HOT_FILE;

struct word { /* eight bytes at any address */
    uint64_t value;
} __attribute__((packed, may_alias));

static inline uint64_t
load64(const void *p)
{
    return ((const struct word *)p)->value;
}

static inline void
store64(void *p, uint64_t value)
{
    ((struct word *)p)->value = value;
}

void *
memcpy(void *restrict dst, const void *restrict src, size_t n)
{
    char *d = dst;
    const char *s = src;

    if (n >= 8 && n <= 16) {
        uint64_t head = load64(s), tail = load64(s + n - 8);

        store64(d, head);
        store64(d + n - 8, tail);
        return dst;
    }
    if (n < 8) {
        while (n--)
            *d++ = *s++;
        return dst;
    }
    if (n <= 128) {
        uint64_t tail = load64(s + n - 8);

        for (size_t i = 0; i + 8 < n; i += 8)
            store64(d + i, load64(s + i));
        store64(d + n - 8, tail);
        return dst;
    }
    __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
    return dst;
}

void *
memmove(void *dst, const void *src, size_t n)
{
    char *d = dst;
    const char *s = src;

    /* A copy is right unless the two overlap. */
    if ((uintptr_t)d - (uintptr_t)s >= n && (uintptr_t)s - (uintptr_t)d >= n)
        return memcpy(dst, src, n);
    if (d < s) {
        __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
        return dst;
    }
    for (; n >= 8; n -= 8)
        store64(d + n - 8, load64(s + n - 8));
    while (n--)
        d[n] = s[n];
    return dst;
}

void *
memset(void *dst, int c, size_t n)
{
    void *d = dst;

    __asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
    return dst;
}

int
memcmp(const void *a, const void *b, size_t n)
{
    const unsigned char *x = a, *y = b;

    for (; n >= 8 && load64(x) == load64(y); n -= 8, x += 8, y += 8)
        ;
    for (; n; n--, x++, y++)
        if (*x != *y)
            return *x - *y;
    return 0;
}

size_t
strlen(const char *s)
{
    const char *end = s;

    while (*end)
        end++;
    return (size_t)(end - s);
}

int
strncmp(const char *a, const char *b, size_t n)
{
    for (; n; n--, a++, b++)
        if (*a != *b || !*a)
            return (unsigned char)*a - (unsigned char)*b;
    return 0;
}

int
strcmp(const char *a, const char *b)
{
    return strncmp(a, b, SIZE_MAX);
}
