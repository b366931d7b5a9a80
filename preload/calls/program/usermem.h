/* The program's memory, which is never touched unchecked: a bad pointer answers EFAULT as from the
 * kernel. */
#ifndef LPMX_USERMEM_H
#define LPMX_USERMEM_H

#include "../../base/sys.h"

int user_readable(const void *p, size_t size);
int user_writable(void *p, size_t size);
int user_string(char *dst, size_t cap, unsigned long p); /* -EFAULT, -ENAMETOOLONG */
int user_copy(void *dst, unsigned long p, size_t size);
int user_put(unsigned long p, const void *src, size_t size);
/* Does it lie in the page that @sp, a stack in use, points into? Then nobody has to be asked. */
bool user_on_stack(const void *sp, unsigned long p, size_t size);
/* user_copy and user_put for which that is tried first; @sp may be NULL. */
int user_copy_near(const void *sp, void *dst, unsigned long p, size_t size);
int user_put_near(const void *sp, unsigned long p, const void *src, size_t size);

#endif
