/* Two bounded string helpers. */
#ifndef LPMX_STR_H
#define LPMX_STR_H

#include "sys.h"

/* Append @src to the NUL-terminated @dst of capacity @cap, whose length is *@len. -ENAMETOOLONG
 * when it does not fit. */
int str_append(char *dst, size_t cap, size_t *len, const char *src, size_t src_len);
/* Write @value in decimal at @dst (room for 21 bytes), NUL-terminated; returns the number of
 * digits. */
size_t str_decimal(char *dst, uint64_t value);

#endif
