/* The freestanding string functions against libc's, for every small size, alignment and overlap.
 *
 * They are compiled here a second time under other names, as the loader has them. */
#define memcpy  free_memcpy
#define memmove free_memmove
#define memset  free_memset
#define memcmp  free_memcmp
#define strlen  free_strlen
#define strcmp  free_strcmp
#define strncmp free_strncmp
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#include "../../preload/base/libc.c"
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef strlen
#undef strcmp
#undef strncmp

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "check.h"

enum { SPAN = 96 };

static void
fill(unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)(i * 7 + 1);
}

static void
test_copies_equal_libc(void)
{
    unsigned char got[SPAN], want[SPAN], src[SPAN];

    fill(src, SPAN);
    for (size_t n = 0; n <= 40; n++)
        for (size_t from = 0; from < 9; from++)
            for (size_t to = 0; to < 9; to++) {
                memset(got, 0, SPAN);
                memset(want, 0, SPAN);
                CHECK(free_memcpy(got + to, src + from, n) == got + to);
                memcpy(want + to, src + from, n);
                CHECK(!memcmp(got, want, SPAN));
            }
}

static void
test_overlapping_moves_equal_libc(void)
{
    unsigned char got[SPAN], want[SPAN];

    for (size_t n = 0; n <= 48; n++)
        for (size_t from = 0; from < 40; from++)
            for (size_t to = 0; to < 40; to++) {
                fill(got, SPAN);
                fill(want, SPAN);
                CHECK(free_memmove(got + to, got + from, n) == got + to);
                memmove(want + to, want + from, n);
                CHECK(!memcmp(got, want, SPAN));
            }
}

static void
test_fills_equal_libc(void)
{
    unsigned char got[SPAN], want[SPAN];

    for (size_t n = 0; n <= 40; n++) {
        fill(got, SPAN);
        fill(want, SPAN);
        CHECK(free_memset(got + 3, -2, n) == got + 3);
        memset(want + 3, -2, n);
        CHECK(!memcmp(got, want, SPAN));
    }
}

static int
sign(int n)
{
    return (n > 0) - (n < 0);
}

static void
test_comparisons_equal_libc(void)
{
    for (size_t n = 0; n <= 24; n++)
        for (size_t at = 0; at < 24; at++)
            for (int c = 0; c < 256; c += 15) {
                char *a = malloc(25), *b = malloc(25); /* the sanitizer sees a read past the end */

                memset(a, 'm', 24);
                memset(b, 'm', 24);
                a[24] = b[24] = '\0';
                a[at] = (char)c;
                CHECK_EQ(sign(free_memcmp(a, b, n)), sign(memcmp(a, b, n)));
                CHECK_EQ(sign(free_strncmp(a, b, n)), sign(strncmp(a, b, n)));
                CHECK_EQ(sign(free_strcmp(a, b)), sign(strcmp(a, b)));
                CHECK_EQ(sign(free_strcmp(b, a)), sign(strcmp(b, a)));
                CHECK_EQ(free_strlen(a), strlen(a));
                free(a);
                free(b);
            }
}

static void
test_append_keeps_to_the_buffer(void)
{
    char buf[8] = "";
    size_t len = 0;

    CHECK_EQ(str_append(buf, sizeof(buf), &len, "abc", 3), 0);
    CHECK_EQ(str_append(buf, sizeof(buf), &len, "", 0), 0);
    CHECK_EQ(str_append(buf, sizeof(buf), &len, "defgh", 5), -ENAMETOOLONG);
    CHECK(!strcmp(buf, "abc") && len == 3);
    CHECK_EQ(str_append(buf, sizeof(buf), &len, "defg", 4), 0);
    CHECK(!strcmp(buf, "abcdefg") && len == 7);
    CHECK_EQ(str_append(buf, sizeof(buf), &len, "h", 1), -ENAMETOOLONG);
    CHECK_EQ(str_append(buf, sizeof(buf), &len, "h", SIZE_MAX), -ENAMETOOLONG);
    len = 100;
    CHECK_EQ(str_append(buf, sizeof(buf), &len, "", 0), -ENAMETOOLONG);
}

static void
test_decimal_equals_printf(void)
{
    static const uint64_t values[] = {0, 1, 9, 10, 99, 100, 4294967295u, 4294967296u, UINT64_MAX};
    char got[21], want[32];

    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        int n = snprintf(want, sizeof(want), "%llu", (unsigned long long)values[i]);

        CHECK_EQ(str_decimal(got, values[i]), n);
        CHECK(!strcmp(got, want));
    }
}

int
main(void)
{
    test_copies_equal_libc();
    test_overlapping_moves_equal_libc();
    test_fills_equal_libc();
    test_comparisons_equal_libc();
    test_append_keeps_to_the_buffer();
    test_decimal_equals_printf();
    return check_done("test_str");
}
