/* Any bytes as a program: headers are refused or make sense, and what is mapped lies in the span
 * that was reserved. */
#include "engine/elf.c"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BIG (1UL << 28) /* larger spans take the kernel long to map and unmap */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool ok)
{
    if (!ok)
        abort();
}

/* Segments of a file that was cut short would kill the process that is to become the program, as
 * they would under the kernel. */
static bool
is_whole(const Elf64_Ehdr *e, const Elf64_Phdr *ph, size_t size)
{
    for (int i = 0; i < e->e_phnum; i++)
        if (ph[i].p_type == PT_LOAD &&
            (ph[i].p_offset > size || ph[i].p_filesz > size - ph[i].p_offset))
            return false;
    return true;
}

static void
check_segments(const Elf64_Ehdr *e, const Elf64_Phdr *ph, uint64_t low, uint64_t high,
               uint64_t align)
{
    must(low < high || (low == high && !(low % PAGE)));
    must(!(low % PAGE) && !(high % PAGE) && align >= PAGE && !(align & (align - 1)));
    for (int i = 0; i < e->e_phnum; i++) {
        if (ph[i].p_type != PT_LOAD)
            continue;
        must(ph[i].p_vaddr >= low && ph[i].p_vaddr + ph[i].p_memsz <= high);
        must(ph[i].p_filesz <= ph[i].p_memsz);
    }
}

static void
map_and_unmap(const struct elf_file *f, uint64_t low, uint64_t high)
{
    struct elf_image image;

    memset(&image, 0, sizeof(image));
    if (!map_image(f, true, &image))
        must(!image.phdr || (image.phdr >= image.bias + low && image.phdr < image.bias + high));
    /* it may have failed half way: then the bias is set all the same */
    if (image.bias || image.entry)
        munmap((void *)(image.bias + low), high - low);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char interp[LPMX_PATH_MAX];
    struct elf_file f;
    Elf64_Ehdr e;
    Elf64_Phdr ph[MAX_PHDRS];
    uint64_t low = 0, high = 0, align = 0;
    int fd = memfd_create("program", 0);

    must(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    must(elf_check(data, size) <= 0);
    must(!elf_read_head(&f, fd));
    if (!elf_interp(&f, interp, sizeof(interp)))
        must(memchr(interp, 0, sizeof(interp)) != NULL);
    must(elf_check_interp(&f) <= 0);
    if (!read_headers(&f, &e, ph) && !load_span(&e, ph, &low, &high, &align)) {
        check_segments(&e, ph, low, high, align);
        if (is_whole(&e, ph, size) && high - low < BIG && align < BIG)
            map_and_unmap(&f, low, high);
    }
    close(fd);
    return 0;
}
