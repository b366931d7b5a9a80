/* Userland exec, second half: map an ELF file as the kernel would. Headers are checked as hostile
 * input; what PT_TLS, PT_DYNAMIC and relocations mean is the business of the program's own
 * interpreter. */
#include "elf.h"

#include "../base/libc.h"
#include "../uufs/hostfd.h"

#include <elf.h>
#include <sys/mman.h>

HOT_FILE;

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

int
elf_read_head(struct elf_file *f, int fd)
{
    long n = sys4(SYS_pread64, fd, f->head, sizeof(f->head), 0);

    f->fd = fd;
    f->n = n < 0 ? 0 : (size_t)n;
    return n < 0 ? (int)n : 0;
}

static int
read_at(const struct elf_file *f, void *buf, size_t size, uint64_t offset)
{
    long n;

    if (offset <= f->n && size <= f->n - offset) {
        memcpy(buf, f->head + offset, size);
        return 0;
    }
    n = sys4(SYS_pread64, f->fd, buf, size, offset);
    if (n < 0)
        return (int)n;
    return n == (long)size ? 0 : -ENOEXEC;
}

static int
read_headers(const struct elf_file *f, Elf64_Ehdr *e, Elf64_Phdr *ph)
{
    int err = elf_check(f->head, f->n);

    if (err)
        return err;
    memcpy(e, f->head, sizeof(*e));
    return read_at(f, ph, e->e_phnum * sizeof(*ph), e->e_phoff);
}

int
elf_interp(const struct elf_file *f, char *interp, size_t cap)
{
    Elf64_Ehdr e;
    Elf64_Phdr ph[MAX_PHDRS];
    int err = read_headers(f, &e, ph);

    interp[0] = '\0';
    for (int i = 0; !err && i < e.e_phnum; i++) {
        if (ph[i].p_type != PT_INTERP)
            continue;
        if (ph[i].p_filesz < 2 || ph[i].p_filesz > cap)
            return -ENOEXEC;
        err = read_at(f, interp, ph[i].p_filesz, ph[i].p_offset);
        if (err == -ENOEXEC)
            return -EIO; /* as the kernel says of a name beyond the file's end */
        if (err || interp[ph[i].p_filesz - 1])
            return err ? err : -ENOEXEC;
        return interp[0] ? 0 : -EACCES; /* what the kernel says of a name that is the directory */
    }
    return err;
}

int
elf_check_interp(const struct elf_file *f)
{
    Elf64_Ehdr e;
    Elf64_Phdr ph[MAX_PHDRS];

    if (f->n < sizeof(e))
        return -EIO;
    memcpy(&e, f->head, sizeof(e));
    if (memcmp(e.e_ident, ELFMAG, SELFMAG) || e.e_machine != EM_X86_64 ||
        e.e_phentsize != sizeof(*ph) || e.e_phnum == 0 || e.e_phnum > MAX_PHDRS ||
        read_at(f, ph, e.e_phnum * sizeof(*ph), e.e_phoff))
        return -ELIBBAD;
    return 0;
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

static int
protection(const Elf64_Phdr *p)
{
    return (p->p_flags & PF_R ? PROT_READ : 0) | (p->p_flags & PF_W ? PROT_WRITE : 0) |
           (p->p_flags & PF_X ? PROT_EXEC : 0);
}

/* Where a span of @size bytes with this alignment is to lie: a free address, or -errno. */
static long
aligned_room(uint64_t size, uint64_t align)
{
    long at = sys6(SYS_mmap, 0, size + align, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (sys_failed(at))
        return at;
    sys2(SYS_munmap, at, size + align);
    return (long)(((uint64_t)at + align - 1) & ~(align - 1));
}

/* Map the whole span as the first segment @p of it, which the others then replace in part; its
 * address, or -errno. As the kernel and ld.so do it: one mapping less than a reservation. */
static long
map_span(int fd, const Elf64_Ehdr *e, const Elf64_Phdr *p, uint64_t low, uint64_t high,
         uint64_t align, bool is_main)
{
    uint64_t size = high - low, in_page = p->p_vaddr & (PAGE - 1);
    int flags = MAP_PRIVATE | MAP_NORESERVE | (p->p_filesz ? 0 : MAP_ANONYMOUS);
    int there =
        is_main ? MAP_FIXED_NOREPLACE : MAP_FIXED; /* an interpreter may lie on its program */
    int source = p->p_filesz ? fd : -1, prot = protection(p);
    uint64_t offset = p->p_filesz ? p->p_offset - in_page : 0;
    long at;

    if (e->e_type == ET_EXEC)
        return sys6(SYS_mmap, low, size, prot, flags | there, source, offset);
    if (is_main) {
        uint64_t want = (pie_hint() + align - 1) & ~(align - 1);

        at = sys6(SYS_mmap, want, size, prot, flags | MAP_FIXED_NOREPLACE, source, offset);
        if (!sys_failed(at))
            return at;
    }
    if (align <= PAGE)
        return sys6(SYS_mmap, 0, size, prot, flags, source, offset);
    at = aligned_room(size, align);
    if (sys_failed(at))
        return at;
    return sys6(SYS_mmap, at, size, prot, flags | MAP_FIXED_NOREPLACE, source, offset);
}

/* Map segment @p; the bytes of the file are there already if it is the @first. */
static int
map_segment(int fd, const Elf64_Phdr *p, uint64_t bias, bool first)
{
    int prot = protection(p);
    uint64_t start = p->p_vaddr + bias, in_page = start & (PAGE - 1);
    uint64_t file_end = start + p->p_filesz, end = start + p->p_memsz;
    uint64_t zero_from = start - in_page;
    long r = 0;

    if (p->p_filesz) {
        if (!first)
            r = sys6(SYS_mmap, start - in_page, p->p_filesz + in_page, prot,
                     MAP_PRIVATE | MAP_FIXED, fd, p->p_offset - in_page);
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

/* Nothing of the first segment's file shows in a gap between @from and the page of @to. */
static int
close_gap(uint64_t from, uint64_t to)
{
    from = (from + PAGE - 1) & ~(PAGE - 1);
    to &= ~(PAGE - 1);
    return from < to ? (int)sys3(SYS_mprotect, from, to - from, PROT_NONE) : 0;
}

/* Count segment @p, at @start, as code or data. */
static void
count_segment(const Elf64_Phdr *p, uint64_t start, struct elf_image *image)
{
    uint64_t end = start + p->p_filesz;

    if (p->p_flags & PF_X && start < image->code)
        image->code = start;
    if (p->p_flags & PF_X && end > image->code_end)
        image->code_end = end;
    if (start > image->data)
        image->data = start;
    if (end > image->data_end)
        image->data_end = end;
}

static int
map_segments(int fd, const Elf64_Ehdr *e, const Elf64_Phdr *ph, struct elf_image *image)
{
    uint64_t end = 0;
    int err = 0;

    for (int i = 0; i < e->e_phnum && !err; i++) {
        const Elf64_Phdr *p = &ph[i];

        if (p->p_type == PT_GNU_STACK)
            image->exec_stack = p->p_flags & PF_X;
        if (p->p_type != PT_LOAD)
            continue;
        if (end)
            err = close_gap(end, p->p_vaddr + image->bias);
        if (!err)
            err = map_segment(fd, p, image->bias, !end);
        count_segment(p, p->p_vaddr + image->bias, image);
        end = p->p_vaddr + p->p_memsz + image->bias;
        if (p->p_offset <= e->e_phoff && e->e_phoff - p->p_offset < p->p_filesz)
            image->phdr = image->bias + p->p_vaddr + e->e_phoff - p->p_offset;
    }
    return err;
}

static const Elf64_Phdr *
first_segment(const Elf64_Phdr *ph)
{
    while (ph->p_type != PT_LOAD)
        ph++;
    return ph;
}

static int
map_image(const struct elf_file *f, bool is_main, struct elf_image *image)
{
    Elf64_Ehdr e;
    Elf64_Phdr ph[MAX_PHDRS];
    uint64_t low = 0, high = 0, align;
    int err = read_headers(f, &e, ph);
    long at;

    if (!err)
        err = load_span(&e, ph, &low, &high, &align);
    if (err)
        return err;
    at = map_span(f->fd, &e, first_segment(ph), low, high, align, is_main);
    if (sys_failed(at))
        return (int)at;
    image->bias = (uint64_t)at - low;
    image->entry = e.e_entry + image->bias;
    image->phnum = e.e_phnum;
    image->phent = e.e_phentsize;
    image->phdr = image->code_end = image->data = image->data_end = 0;
    image->code = UINT64_MAX;
    image->exec_stack = false;
    return map_segments(f->fd, &e, ph, image);
}

int
elf_map(const char *host, bool is_main, struct elf_image *image)
{
    struct elf_file f;
    long fd = hostfd_open(host, O_RDONLY, 0);
    int err;

    if (fd < 0)
        return (int)fd;
    err = elf_read_head(&f, (int)fd);
    if (!err)
        err = map_image(&f, is_main, image);
    sys1(SYS_close, fd);
    return err;
}
