/* Bounded string helpers of both builds. */
#ifndef LPMX_STR_H
#define LPMX_STR_H

#include "sys.h"

/* Append @src to the NUL-terminated @dst of capacity @cap, whose length is *@len. -ENAMETOOLONG
 * when it does not fit. */
int str_append(char *dst, size_t cap, size_t *len, const char *src, size_t src_len);
/* Write @value in decimal at @dst (room for 21 bytes), NUL-terminated; returns the number of
 * digits. */
size_t str_decimal(char *dst, uint64_t value);
/* The same in @base, without a NUL. */
size_t str_number(char *dst, uint64_t value, unsigned base);
/* Read a number of @base at *p, and the blank or end behind it, into *value. False: there is none.
 */
bool str_take_number(const char **p, unsigned base, uint32_t *value);

#endif
