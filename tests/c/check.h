/* The C tests' harness: CHECK counts and goes on, check_done prints the count and gives the exit
 * status. */
#ifndef LPMX_TESTS_CHECK_H
#define LPMX_TESTS_CHECK_H

#include <stdio.h>

static unsigned long check_passed, check_failed;

#define CHECK(condition)                                                                           \
    ((condition) ? (void)check_passed++                                                            \
                 : (void)(check_failed++, fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__,   \
                                                  __func__, #condition)))

/* Both sides of a comparison of integers are shown. */
#define CHECK_EQ(got, want)                                                                        \
    check_eq(__FILE__, __LINE__, __func__, #got, (long long)(got), (long long)(want))

static inline void
check_eq(const char *file, int line, const char *func, const char *what, long long got,
         long long want)
{
    if (got == want) {
        check_passed++;
        return;
    }
    check_failed++;
    fprintf(stderr, "%s:%d: %s: %s is %lld, not %lld\n", file, line, func, what, got, want);
}

static inline int
check_done(const char *name)
{
    printf("%s: %lu passed, %lu failed\n", name, check_passed, check_failed);
    return check_failed != 0;
}

#endif
