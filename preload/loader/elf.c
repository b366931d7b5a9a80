/* Userland exec, second half: map an ELF file as the kernel would. Headers are checked as hostile
 * input; what PT_TLS, PT_DYNAMIC and relocations mean is the business of the program's own
 * interpreter. */
#include "../engine.h"

#include <elf.h>
#include <sys/mman.h>

#define PAGE      4096UL
#define MAX_PHDRS 64
#define PIE_BASE                                                                                   \
    0x555555554000UL /* the kernel's ELF_ET_DYN_BASE on x86-64: sanitizers count on this range */
#define PIE_RANDOM_PAGES 0xfffffUL

int
elf_check(const void *head, size_t size)
{
    const Elf64_Ehdr *e = head;

    if (size < 4 || memcmp(e->e_ident, ELFMAG, SELFMAG))
        return -ENOEXEC;
    if (size < sizeof(*e))
        return -ENOEXEC;
    if (e->e_ident[EI_CLASS] != ELFCLASS64 || e->e_machine != EM_X86_64)
        return -ENOEXEC;
    if (e->e_type != ET_EXEC && e->e_type != ET_DYN)
        return -ENOEXEC;
    if (e->e_phentsize != sizeof(Elf64_Phdr) || e->e_phnum == 0 || e->e_phnum > MAX_PHDRS)
        return -ENOEXEC;
    return 0;
}

static int
read_headers(int fd, Elf64_Ehdr *e, Elf64_Phdr *ph)
{
    long n = sys4(SYS_pread64, fd, e, sizeof(*e), 0);
    int err;

    if (n < 0)
        return (int)n;
    err = elf_check(e, (size_t)n);
    if (err)
        return err;
    n = sys4(SYS_pread64, fd, ph, e->e_phnum * sizeof(*ph), e->e_phoff);
    if (n < 0)
        return (int)n;
    return n == (long)(e->e_phnum * sizeof(*ph)) ? 0 : -ENOEXEC;
}

static int
read_interp(int fd, const Elf64_Phdr *ph, char *interp, size_t cap)
{
    long n;

    if (ph->p_filesz < 2 || ph->p_filesz > cap)
        return -ENOEXEC;
    n = sys4(SYS_pread64, fd, interp, ph->p_filesz, ph->p_offset);
    if (n != (long)ph->p_filesz || interp[n - 1] != '\0')
        return -ENOEXEC;
    return 0;
}

int
elf_interp(int fd, char *interp, size_t cap)
{
    Elf64_Ehdr e;
    Elf64_Phdr ph[MAX_PHDRS];
    int err = read_headers(fd, &e, ph);

    interp[0] = '\0';
    for (int i = 0; !err && i < e.e_phnum; i++)
        if (ph[i].p_type == PT_INTERP)
            return read_interp(fd, &ph[i], interp, cap);
    return err;
}

/* The span of all PT_LOADs, and whether they make sense: ascending, not overlapping, within the
 * address space. */
static int
load_span(const Elf64_Ehdr *e, const Elf64_Phdr *ph, uint64_t *low, uint64_t *high, uint64_t *align)
{
    bool any = false;

    *align = PAGE;
    for (int i = 0; i < e->e_phnum; i++) {
        const Elf64_Phdr *p = &ph[i];

        if (p->p_type != PT_LOAD)
            continue;
        if (p->p_filesz > p->p_memsz || p->p_vaddr > 1UL << 47 || p->p_memsz > 1UL << 47 ||
            (p->p_vaddr - p->p_offset) % PAGE)
            return -ENOEXEC;
        if (!any)
            *low = p->p_vaddr & ~(PAGE - 1);
        else if (p->p_vaddr < *high)
            return -ENOEXEC;
        any = true;
        *high = p->p_vaddr + p->p_memsz;
        if (p->p_align > *align && !(p->p_align & (p->p_align - 1)) && p->p_align <= 1UL << 30)
            *align = p->p_align;
    }
    if (any)
        *high = (*high + PAGE - 1) & ~(PAGE - 1);
    return any ? 0 : -ENOEXEC;
}

/* Where a PIE goes: in the kernel's range, randomised unless the personality says otherwise. */
static uint64_t
pie_hint(void)
{
    uint64_t random = 0;

    if (sys1(SYS_personality, 0xffffffffUL) & 0x0040000 /* ADDR_NO_RANDOMIZE */)
        return PIE_BASE;
    sys3(SYS_getrandom, &random, sizeof(random), 1 /* GRND_NONBLOCK */);
    return PIE_BASE + (random & PIE_RANDOM_PAGES) * PAGE;
}

/* Reserve the span; the address of its first byte, or -errno. */
static long
reserve(const Elf64_Ehdr *e, uint64_t low, uint64_t high, uint64_t align, bool is_main)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    uint64_t size = high - low;
    long at;

    if (e->e_type == ET_EXEC)
        return sys6(SYS_mmap, low, size, PROT_NONE, flags | MAP_FIXED_NOREPLACE, -1, 0);
    if (is_main) {
        uint64_t want = (pie_hint() + align - 1) & ~(align - 1);

        at = sys6(SYS_mmap, want, size, PROT_NONE, flags | MAP_FIXED_NOREPLACE, -1, 0);
        if (!sys_failed(at))
            return at;
    }
    if (align <= PAGE)
        return sys6(SYS_mmap, 0, size, PROT_NONE, flags, -1, 0);
    at = sys6(SYS_mmap, 0, size + align, PROT_NONE, flags, -1, 0);
    if (sys_failed(at))
        return at;
    uint64_t start = ((uint64_t)at + align - 1) & ~(align - 1);

    if (start > (uint64_t)at)
        sys2(SYS_munmap, at, start - (uint64_t)at);
    if (start + size < (uint64_t)at + size + align)
        sys2(SYS_munmap, start + size, (uint64_t)at + size + align - (start + size));
    return (long)start;
}

static int
map_segment(int fd, const Elf64_Phdr *p, uint64_t bias)
{
    int prot = (p->p_flags & PF_R ? PROT_READ : 0) | (p->p_flags & PF_W ? PROT_WRITE : 0) |
               (p->p_flags & PF_X ? PROT_EXEC : 0);
    uint64_t start = p->p_vaddr + bias, in_page = start & (PAGE - 1);
    uint64_t file_end = start + p->p_filesz, end = start + p->p_memsz;
    uint64_t zero_from = start - in_page;
    long r;

    if (p->p_filesz) {
        r = sys6(SYS_mmap, start - in_page, p->p_filesz + in_page, prot, MAP_PRIVATE | MAP_FIXED,
                 fd, p->p_offset - in_page);
        if (sys_failed(r))
            return (int)r;
        zero_from = (file_end + PAGE - 1) & ~(PAGE - 1);
        /* to the end of the page, not to p_memsz: ld.so's first allocator uses the rest and expects
         * zeros */
        if (end > file_end && (prot & PROT_WRITE))
            memset((void *)file_end, 0, zero_from - file_end);
    }
    if (end <= zero_from)
        return 0;
    r = sys6(SYS_mmap, zero_from, end - zero_from, prot, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS,
             -1, 0);
    return sys_failed(r) ? (int)r : 0;
}

static int
map_image(int fd, bool is_main, struct elf_image *image)
{
    Elf64_Ehdr e;
    Elf64_Phdr ph[MAX_PHDRS];
    uint64_t low = 0, high = 0, align;
    int err = read_headers(fd, &e, ph);
    long at;

    if (!err)
        err = load_span(&e, ph, &low, &high, &align);
    if (err)
        return err;
    at = reserve(&e, low, high, align, is_main);
    if (sys_failed(at))
        return (int)at;
    image->bias = (uint64_t)at - low;
    image->entry = e.e_entry + image->bias;
    image->phnum = e.e_phnum;
    image->phent = e.e_phentsize;
    image->phdr = 0;
    image->has_interp = image->exec_stack = false;
    for (int i = 0; i < e.e_phnum && !err; i++) {
        const Elf64_Phdr *p = &ph[i];

        if (p->p_type == PT_LOAD) {
            err = map_segment(fd, p, image->bias);
            if (p->p_offset <= e.e_phoff && e.e_phoff - p->p_offset < p->p_filesz)
                image->phdr = image->bias + p->p_vaddr + e.e_phoff - p->p_offset;
        } else if (p->p_type == PT_INTERP && is_main) {
            image->has_interp = true;
            err = read_interp(fd, p, image->interp, sizeof(image->interp));
        } else if (p->p_type == PT_GNU_STACK) {
            image->exec_stack = p->p_flags & PF_X;
        }
    }
    return err;
}

int
elf_map(const char *host, bool is_main, struct elf_image *image)
{
    long fd = uufs_open(host, O_RDONLY, 0);
    int err;

    if (fd < 0)
        return (int)fd;
    err = map_image((int)fd, is_main, image);
    sys1(SYS_close, fd);
    return err;
}
