/* Calls that are about a descriptor. */
#ifndef LPMX_DESCRIPTOR_H
#define LPMX_DESCRIPTOR_H

#include "../program/call.h"

/* Does the call speak of the descriptor itself (AT_EMPTY_PATH)? */
bool call_is_descriptor(const struct call *c);
/* Where descriptor @fd is of a lower file, copy that up and move the descriptor over. 0,
 * -EROFS ... */
int call_descriptor_up(int fd);
/* Replace what descriptor @fd refers to by the upper's copy at @host, same flags and position. */
int call_reopen(int fd, const char *host);

#endif
