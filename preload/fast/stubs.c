/* The stubs: where the jumps of rewritten sites lead.
 *
 * A jump reaches 2 GiB and the loader lies further away, so pages of stubs are mapped near the C
 * library. Such a page is a page of the loader's own file, mapped a second time: no memory is ever
 * writable and executable for it. What differs from stub to stub, the site, stands in a page of
 * data behind it. */
#include "stubs.h"

#include "../base/libc.h"
#include "../engine/engine.h"
#include "entry.h"

#include <sys/mman.h>

#define PAGE  4096UL
#define PAGES 8
#define PER_PAGE                                                                                   \
    255 /* the place of the first holds the code they share, and the entry's address               \
         */
#define REACH     (1L << 30)
#define STEP      (16L << 20)
#define STEPS     48
#define STUB_SIZE 16UL

extern const char fast_stubs[];
extern const char image_start[];

/* The place of stub i is 16 bytes at fast_stubs + 16 * i, its site 4096 bytes further on. */
__asm__(".pushsection .text.stubs, \"ax\", @progbits\n"
        ".balign 4096\n"
        ".globl fast_stubs\n"
        ".hidden fast_stubs\n"
        "fast_stubs:\n"
        "    jmp *4096 - 6(%rip)\n"
        "    .balign 16\n"
        ".rept 255\n"
        "9:  lea 4096 - 7(%rip), %rcx\n"
        "    jmp fast_stubs\n"
        "    .balign 16\n"
        ".endr\n"
        ".balign 4096\n"
        ".popsection\n");

struct stub_page { /* the data; its code is the page before */
    uint64_t entry, unused;
    struct fast_site sites[PER_PAGE];
};

_Static_assert(sizeof(struct fast_site) == STUB_SIZE, "a stub and its site have one index");
_Static_assert(offsetof(struct fast_site, from_stack) == 3 && offsetof(struct fast_site, back) == 8,
               "as entry.c's assembly has it");
_Static_assert(sizeof(struct stub_page) == PAGE, "the data is one page");

static struct stub_page *pages[PAGES];
static unsigned used[PAGES];

static bool
in_reach(long at, uint64_t site)
{
    long distance = at - (long)site;

    return distance > -REACH && distance < REACH;
}

/* Two free pages near @site, or -ENOMEM. */
static long
find_room(uint64_t site)
{
    for (long i = 0; i <= 2 * STEPS; i++) {
        long hint = i ? (long)(site & ~(PAGE - 1)) + (i % 2 ? 1 : -1) * (i + 1) / 2 * STEP : 0;
        long at;

        if (hint < 0)
            continue;
        at = sys6(SYS_mmap, hint, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                  0);
        if (sys_failed(at))
            return at;
        if (in_reach(at, site))
            return at;
        sys2(SYS_munmap, at, 2 * PAGE);
    }
    return -ENOMEM;
}

/* Map the loader's page of stubs at @at. */
static int
map_code(long at)
{
    long r, fd = sys4(SYS_openat, AT_FDCWD, engine.loader, O_RDONLY | O_CLOEXEC, 0);

    if (fd < 0)
        return (int)fd;
    r = sys6(SYS_mmap, at, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fd,
             fast_stubs - image_start);
    sys1(SYS_close, fd);
    if (sys_failed(r))
        return (int)r;
    return memcmp((const void *)at, fast_stubs, PAGE) ? -EBADMSG : 0;
}

static struct stub_page *
new_page(uint64_t site)
{
    struct stub_page *page;
    long at = find_room(site);

    if (sys_failed(at))
        return NULL;
    if (map_code(at)) {
        sys2(SYS_munmap, at, 2 * PAGE);
        return NULL;
    }
    page = (struct stub_page *)(at + (long)PAGE);
    page->entry = (uint64_t)fast_entry;
    return page;
}

static uint64_t
stub_address(unsigned page, unsigned i)
{
    return (uint64_t)pages[page] - PAGE + (i + 1) * STUB_SIZE;
}

struct fast_site *
stub_new(uint64_t site, uint64_t *stub)
{
    for (unsigned i = 0; i < PAGES; i++) {
        if (!pages[i])
            pages[i] = new_page(site);
        if (!pages[i])
            return NULL;
        if (used[i] == PER_PAGE || !in_reach((long)pages[i], site))
            continue;
        *stub = stub_address(i, used[i]);
        return &pages[i]->sites[used[i]++];
    }
    return NULL;
}

struct fast_site *
stub_site(unsigned i)
{
    for (unsigned page = 0; page < PAGES; i -= used[page], page++)
        if (i < used[page])
            return &pages[page]->sites[i];
    return NULL;
}
