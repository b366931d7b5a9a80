/* The program's memory. The kernel is asked, by a call that can do nothing, whether an address may
 * be read or written: rt_sigprocmask reads its set before it looks at an invalid `how`, and writes
 * the old mask before it returns. */
#include "usermem.h"

#include "../../base/libc.h"

HOT_FILE;

#define PAGE   4096UL
#define NO_HOW 0x7fff

static bool
page_readable(unsigned long p)
{
    p &= ~7UL; /* a set at NULL would be none */
    return p && sys4(SYS_rt_sigprocmask, NO_HOW, p, 0, 8) != -EFAULT;
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

/* Clobbers the first 8 bytes of each page's share of the buffer, which the caller is about to fill.
 */
int
user_writable(void *ptr, size_t size)
{
    unsigned long p = (unsigned long)ptr, end = p + size;

    if (end < p)
        return -EFAULT;
    if (size < 8) { /* too small for a mask: let the kernel write as many bytes of something else */
        long n = sys3(SYS_getrandom, ptr, size, 1 /* GRND_NONBLOCK */);

        return n == -EFAULT || (n >= 0 && n < (long)size) ? -EFAULT : 0;
    }
    for (unsigned long at = p; at < end;) {
        unsigned long probe = at + 8 <= end ? at : end - 8;

        if (!probe || sys4(SYS_rt_sigprocmask, 0, 0, probe, 8) == -EFAULT)
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
