/* What the kernel knows of a program's memory. */
#ifndef LPMX_LAYOUT_H
#define LPMX_LAYOUT_H

#include "../engine/elf.h"

#include <elf.h>

/* After an execve the kernel knows the program's memory, as if it had mapped it. @sp is
 * the stack it starts with, @env where the strings of its environment lie. */
struct environment_span {
    uint64_t start, end;
};

void layout_tell(const uint64_t *sp, const struct environment_span *env, const Elf64_auxv_t *av,
                 const struct elf_image *program);

#endif
