/* Looking at the program's code, and changing it. */
#ifndef LPMX_PATCH_H
#define LPMX_PATCH_H

#include "../base/sys.h"

/* Is the site a private mapping of the C library's (or its loader's) file? */
bool patch_is_libc(uint64_t site);
/* Does @site hold "mov $nr, %eax; syscall"? */
bool patch_is_call(uint64_t site, uint32_t nr);
/* The N of a @site that holds "mov N(%rsp), %rax; syscall", or 0. So are, from glibc 2.41 on, all
 * cancellable calls of a program without threads made, from one place. */
uint8_t patch_shared_call(uint64_t site);
/* Replace the five bytes at @site, which are one instruction before and after. Other threads may
 * run them meanwhile. */
int patch_replace(uint64_t site, uint8_t opcode, uint32_t operand);

#endif
