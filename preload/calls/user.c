/* The program's memory. The kernel is asked whether an address may be read or written, by calls
 * that do nothing else and do it at once: epoll_ctl reads the event before it looks at the
 * descriptor that is none, and getcpu writes a number. Both are of those that the filter lets
 * through unseen.
 */
#include "call.h"

#include <sys/epoll.h>

#define PAGE 4096UL
#define CPU  4UL /* bytes of getcpu's number */

/* The event has 12 bytes. */
static bool
page_readable(unsigned long p)
{
    return sys4(SYS_epoll_ctl, -1, EPOLL_CTL_ADD, -1, p & ~15UL) != -EFAULT;
}

int
user_readable(const void *ptr, size_t size)
{
    unsigned long p = (unsigned long)ptr, end = p + size;

    if (end < p)
        return -EFAULT;
    for (p &= ~(PAGE - 1); p < end; p += PAGE) {
        unsigned long at = p < (unsigned long)ptr ? (unsigned long)ptr : p;

        if (!page_readable(at))
            return -EFAULT;
    }
    return 0;
}

/* Clobbers the first bytes of each page's share of the buffer, which the caller is about to fill.
 */
int
user_writable(void *ptr, size_t size)
{
    unsigned long p = (unsigned long)ptr, end = p + size;

    if (end < p)
        return -EFAULT;
    if (size < CPU) { /* let the kernel write as many bytes of something else */
        long n = sys3(SYS_getrandom, ptr, size, 1 /* GRND_NONBLOCK */);

        return n == -EFAULT || (n >= 0 && n < (long)size) ? -EFAULT : 0;
    }
    for (unsigned long at = p; at < end;) {
        unsigned long probe = at + CPU <= end ? at : end - CPU;

        if (!probe || sys3(SYS_getcpu, probe, 0, 0) == -EFAULT)
            return -EFAULT;
        at = (at & ~(PAGE - 1)) + PAGE;
    }
    return 0;
}

int
user_string(char *dst, size_t cap, unsigned long p)
{
    size_t n = 0;

    while (n < cap) {
        size_t page_left = PAGE - (p & (PAGE - 1));

        if (!page_readable(p))
            return -EFAULT;
        if (page_left > cap - n)
            page_left = cap - n;
        for (const char *s = (const char *)p; page_left; page_left--, s++, p++)
            if (!(dst[n++] = *s))
                return 0;
    }
    return -ENAMETOOLONG;
}

int
user_copy(void *dst, unsigned long p, size_t size)
{
    int err = user_readable((const void *)p, size);

    if (!err)
        memcpy(dst, (const void *)p, size);
    return err;
}

int
user_put(unsigned long p, const void *src, size_t size)
{
    int err = user_writable((void *)p, size);

    if (!err)
        memcpy((void *)p, src, size);
    return err;
}

bool
user_on_stack(const void *sp, unsigned long p, size_t size)
{
    unsigned long page = (unsigned long)sp & ~(PAGE - 1);

    return sp && p >= page && p < page + PAGE && size <= page + PAGE - p;
}

int
user_copy_near(const void *sp, void *dst, unsigned long p, size_t size)
{
    if (!user_on_stack(sp, p, size))
        return user_copy(dst, p, size);
    memcpy(dst, (const void *)p, size);
    return 0;
}

int
user_put_near(const void *sp, unsigned long p, const void *src, size_t size)
{
    if (!user_on_stack(sp, p, size))
        return user_put(p, src, size);
    memcpy((void *)p, src, size);
    return 0;
}
