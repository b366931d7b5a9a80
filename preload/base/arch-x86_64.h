/* The only per-CPU header: how x86-64 enters the kernel. A port adds its twin and selects it in
 * sys.h. */
#ifndef LPMX_ARCH_X86_64_H
#define LPMX_ARCH_X86_64_H

#ifndef __x86_64__
#error "lpmx-kernels runs on x86-64 only"
#endif

/* always_inline: inside a container the seccomp filter lets through what is issued from the
 * loader's text. */
static inline __attribute__((always_inline)) long
raw_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
    long ret;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;

    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return ret;
}

#endif
