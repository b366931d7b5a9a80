/* Raw system calls, and the marks and limits that all C files share.
 *
 * Everything under preload/ that runs inside a container (loader, trap, calls, uufs) is built
 * without a libc, so this is the only file that enters the kernel. Functions return what the kernel
 * returns: 0 or more, or a negative errno. The same header serves the hosted build (the cffi
 * module, the C tests), where it stays out of libc's way. */
#ifndef LPMX_SYS_H
#define LPMX_SYS_H

#include "arch-x86_64.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

#define LPMX_PATH_MAX 4096 /* as the kernel's PATH_MAX: bytes with the final NUL */
#define LPMX_NAME_MAX 255
#define ARRAY_LEN(a)  (sizeof(a) / sizeof((a)[0]))

/* What every start runs is in the first 64 KiB of the loader's file (loader/lpmx-exec.ld): all of a
 * source that has the line `HOT_FILE;`, which preload/Makefile looks for, but for the functions
 * that are COLD; and of the other sources the functions that are HOT_TEXT. The constants of all
 * sources are there too, except where the source has the line `COLD_FILE;`. */
#define HOT_FILE  _Static_assert(true, "see above")
#define COLD_FILE _Static_assert(true, "see above")
#define HOT_TEXT  __attribute__((section(".hot_text")))
#define COLD      __attribute__((noinline, section(".cold")))

/* A function with a path buffer that must not become part of its caller's frame. */
#define OWN_FRAME __attribute__((noinline))

#define sys0(nr)             raw_syscall((nr), 0, 0, 0, 0, 0, 0)
#define sys1(nr, a)          raw_syscall((nr), (long)(a), 0, 0, 0, 0, 0)
#define sys2(nr, a, b)       raw_syscall((nr), (long)(a), (long)(b), 0, 0, 0, 0)
#define sys3(nr, a, b, c)    raw_syscall((nr), (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define sys4(nr, a, b, c, d) raw_syscall((nr), (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define sys5(nr, a, b, c, d, e)                                                                    \
    raw_syscall((nr), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define sys6(nr, a, b, c, d, e, f)                                                                 \
    raw_syscall((nr), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* A pointer-returning call (mmap) failed when its value is in the errno range. */
static inline bool
sys_failed(long value)
{
    return (unsigned long)value >= (unsigned long)-4095L;
}

#endif
