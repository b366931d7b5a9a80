/* ELF headers, and mapping a program. */
#ifndef LPMX_ELF_H
#define LPMX_ELF_H

#include "../base/sys.h"

struct elf_image {
    uint64_t bias, entry, phdr;
    uint64_t code, code_end, data, data_end; /* as the kernel counts them */
    uint32_t phnum, phent;
    bool exec_stack;
};

/* A file of which the first bytes are read already, which mostly are all that headers need. */
#define ELF_HEAD 1024

struct elf_file {
    int fd;
    size_t n; /* bytes of head[] */
    char head[ELF_HEAD];
};

/* Read the head of @fd. 0 or -errno. */
int elf_read_head(struct elf_file *f, int fd);
/* Check a header: 0, -ENOEXEC (not ELF), -ELIBBAD (damaged or foreign). */
int elf_check(const void *head, size_t size);
/* The PT_INTERP of @f into @interp ("" when static). */
int elf_interp(const struct elf_file *f, char *interp, size_t cap);
/* Can the file be the interpreter of a program? 0, -EIO (cut off), -ELIBBAD. */
int elf_check_interp(const struct elf_file *f);
/* Map the program at host path @host; @main programs get the address range the kernel gives to
 * PIEs. */
int elf_map(const char *host, bool is_main, struct elf_image *image);

#endif
